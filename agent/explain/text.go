package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ecsagent/agent/task"
)

// WriteJSON prints the tasks as one JSON document.
func WriteJSON(w io.Writer, tasks []Task) error {
	raw, err := encode(struct {
		Tasks []Task `json:"tasks"`
	}{tasks}, "")
	if err != nil {
		return err
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}

// encode leaves placeholders as they are: no escapes for HTML.
func encode(v any, prefix string) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode explanation: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// WriteText prints a task for a person. Reasons are left to the caller but for a line
// where each belongs.
func WriteText(w io.Writer, t *Task) error {
	p := &printer{}
	p.line("task %s (%s:%s)", or(t.ARN, "without arn"), or(t.Family, "no family"), or(t.Revision, "no revision"))
	for _, warning := range t.Warnings {
		p.line("warning: %s", warning)
	}
	switch {
	case t.Idle != "":
		p.line("%s", t.Idle)
	case t.Reason != "":
		p.line("stopped before anything is asked of Docker: %s", t.Reason)
	}
	for i := range t.Volumes {
		p.volume(&t.Volumes[i])
	}
	for _, r := range t.Resources {
		with := ""
		if r.Role {
			with = ", with the task's execution role"
		}
		p.line("\nresource %s: %s%s", r.Name, r.What, with)
	}
	for i := range t.Containers {
		p.container(&t.Containers[i])
	}
	p.stops(t.StopOrder)
	if p.err != nil {
		return p.err
	}
	_, err := w.Write(p.buf.Bytes())
	return err
}

type printer struct {
	buf bytes.Buffer
	err error
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(&p.buf, format+"\n", args...) }

func (p *printer) volume(v *Volume) {
	p.line("\nvolume %s: %s", v.Name, v.Do)
	switch {
	case v.Path != "":
		p.line("  path    %s", v.Path)
	case v.Docker != "":
		p.line("  name    %s", v.Docker)
	}
	if v.Driver != "" {
		p.line("  driver  %s%s", v.Driver, pairs(" with ", v.Opts))
	}
	if len(v.Labels) > 0 {
		p.line("  labels%s", pairs("  ", v.Labels))
	}
	if v.Reason != "" {
		p.line("  fails   %s", v.Reason)
	}
	if v.Removed {
		p.line("  removed with the task")
	}
}

func (p *printer) container(c *Container) {
	what := "essential"
	if !c.Essential {
		what = "not essential"
	}
	p.line("\ncontainer %s (stage %d, %s)", c.Name, c.Stage, what)
	for _, w := range c.WaitsFor {
		p.line("  waits   for %s", w.text())
	}
	p.image(&c.Image)
	if r := c.Restart; r != nil {
		p.line("  restart in place when it exits%s, after at least %s of running", exempt(r.IgnoredExitCodes), seconds(r.AttemptPeriod))
	}
	if c.Reason != "" {
		p.line("  stops   %s", c.Reason)
	}
	if c.Create == nil {
		return
	}
	body, err := encode(c.Create.Body, "    ")
	if err != nil {
		p.err = err
		return
	}
	p.line("  create  %s", c.Create.Name)
	p.line("    %s", body)
	p.line("  start   %s", c.Create.Name)
}

func exempt(codes []int) string {
	if len(codes) == 0 {
		return ""
	}
	list := make([]string, len(codes))
	for i, code := range codes {
		list[i] = strconv.Itoa(code)
	}
	return ", except with " + strings.Join(list, ", ")
}

func (w Wait) text() string {
	if w.Volume != "" {
		return "volume " + w.Volume
	}
	if w.Resource != "" {
		return w.Resource
	}
	text := w.Container + " " + conditions[w.Condition]
	if w.Within > 0 {
		text += " within " + seconds(w.Within) + " of its start"
	}
	return text
}

var conditions = map[task.Condition]string{
	task.DependsCreate: "to be created", task.DependsStart: "to be started", task.DependsComplete: "to exit",
	task.DependsSuccess: "to exit with 0", task.DependsHealthy: "to be healthy",
}

var behaviors = map[task.PullBehavior]string{
	task.PullDefault:      "default: the registry is asked; if it fails, a local image is used",
	task.PullAlways:       "always: the registry is asked; if it fails, the task stops",
	task.PullOnce:         "once: the registry is asked unless this agent has pulled the image before; if it fails, the task stops",
	task.PullPreferCached: "prefer-cached: the registry is asked only when there is no local image",
}

func (p *printer) image(i *Image) {
	p.line("  image   %s", i.Reference)
	if i.Pull == "never" {
		p.line("    never pulled")
		return
	}
	p.line("    %s", behaviors[i.Behavior])
	if i.Upfront {
		p.line("    pulled before what the container waits for")
	}
	if i.Login != "" {
		p.line("    login: %s", i.Login)
	}
	for _, call := range i.Calls {
		p.line("    %s", call)
	}
}

func (p *printer) stops(stops []Stop) {
	if len(stops) == 0 {
		return
	}
	p.line("\nstop order")
	for _, s := range stops {
		signal := s.Signal
		if signal == "" {
			signal = "the image's signal or SIGTERM"
		}
		after := ""
		if len(s.After) > 0 {
			after = ", after " + strings.Join(s.After, ", ")
		}
		p.line("  %d. %s: %s, SIGKILL after %s%s", s.Stage, s.Container, signal, seconds(s.Timeout), after)
	}
}

func pairs(before string, m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return before + strings.Join(list, " ")
}

func seconds(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) + " s" }

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
