package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/agent/config"
	"ecsagent/agent/endpoint/introspection"
)

const (
	// defaultIntrospection is asked when the configuration cannot be read.
	defaultIntrospection = "127.0.0.1:51678"
	tasksTimeout         = 10 * time.Second
	// maxTasksBody bounds what is read from the agent.
	maxTasksBody = 64 << 20
	shownID      = 12 // characters of a task's id in the list
)

// newTasks is the command that shows what the running agent's tasks wait for.
func newTasks(sources func() config.Sources, now func() time.Time) *cobra.Command {
	var output, address string
	cmd := &cobra.Command{
		Use:   "tasks [ID]",
		Short: "Show the agent's tasks and what they wait for",
		Long: `List the tasks that the running agent knows: their status, since when, and what they
wait for. With ID, show what happened to that task; ID is its ARN, its id or the
beginning of it.

Exit codes: 0; 1 the agent does not answer, or there is no such task or more than one.`,
		Args:          cobra.MaximumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("output format %q: want text or json", output)
			}
			if address == "" {
				address = introspectionAddress(cmd.Context(), sources())
			}
			v := tasksView{out: cmd.OutOrStdout(), address: address, json: output == "json", now: now()}
			if len(args) == 1 {
				return v.one(cmd.Context(), args[0])
			}
			return v.all(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&address, "address", "", "address of the agent's introspection server (default ECS_INTROSPECTION_ADDRESS, else "+defaultIntrospection+")")
	return cmd
}

// introspectionAddress is where the agent with these settings answers.
func introspectionAddress(ctx context.Context, sources config.Sources) string {
	cfg, _, err := config.Load(ctx, sources)
	if err != nil || cfg == nil || cfg.IntrospectionAddress == "" {
		return defaultIntrospection
	}
	host, port, err := net.SplitHostPort(cfg.IntrospectionAddress)
	if err != nil {
		return defaultIntrospection
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere
	}
	return net.JoinHostPort(host, port)
}

// tasksView asks the agent and prints what it says.
type tasksView struct {
	out     io.Writer
	address string
	json    bool
	now     time.Time
}

func (v tasksView) all(ctx context.Context) error {
	list, err := v.list(ctx)
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(list)
	}
	table := tabwriter.NewWriter(v.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "TASK\tDEFINITION\tSTATUS\tSINCE\tWAITS FOR")
	for i := range list.Tasks {
		t := &list.Tasks[i]
		id := idOf(t.Arn)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", id[:min(len(id), shownID)], definition(t), status(t), v.age(t.Since), brief(t.Waits))
	}
	return table.Flush()
}

func (v tasksView) one(ctx context.Context, name string) error {
	list, err := v.list(ctx)
	if err != nil {
		return err
	}
	arn, err := find(list.Tasks, name)
	if err != nil {
		return err
	}
	var line introspection.Timeline
	if err := v.get(ctx, "/v1/tasks/"+url.PathEscape(arn)+"/timeline", &line); err != nil {
		return err
	}
	if v.json {
		return v.printJSON(line)
	}
	fmt.Fprintf(v.out, "Task        %s\nDefinition  %s\nStatus      %s for %s\n", line.Arn, definition(&line.TaskWaits), status(&line.TaskWaits), v.age(line.Since))
	table := tabwriter.NewWriter(v.out, 0, 8, 2, ' ', 0)
	if len(line.Waits) > 0 {
		fmt.Fprintln(table, "\nWAITS FOR\tCONTAINER\tSINCE")
	}
	for _, w := range line.Waits {
		fmt.Fprintf(table, "%s\t%s\t%s\n", w.Detail, w.Container, v.age(w.Since))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(table, "\nTIME\tCONTAINER\tEVENT\tDETAIL")
	for _, e := range line.Timeline {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05.000"), e.Container, e.Event, oneLine(e.Detail))
	}
	return table.Flush()
}

// list asks for all tasks, and sorts them by the time of their status.
func (v tasksView) list(ctx context.Context) (introspection.Waits, error) {
	var list introspection.Waits
	err := v.get(ctx, "/v1/tasks/waits", &list)
	slices.SortFunc(list.Tasks, func(a, b introspection.TaskWaits) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Arn, b.Arn)
	})
	return list, err
}

func (v tasksView) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, tasksTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.address+path, nil)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", v.address, err)
	}
	// A proxy of the environment is for the agent's calls to AWS.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", v.address, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTasksBody))
	if err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answers %s: %s", response.Status, oneLine(string(body)))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

func (v tasksView) printJSON(body any) error {
	encoder := json.NewEncoder(v.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(body)
}

// find returns the ARN of the one task with the ARN, the id or the beginning of it.
func find(tasks []introspection.TaskWaits, name string) (string, error) {
	var found []string
	for i := range tasks {
		switch arn := tasks[i].Arn; {
		case arn == name, idOf(arn) == name:
			return arn, nil
		case name != "" && strings.HasPrefix(idOf(arn), name):
			found = append(found, arn)
		}
	}
	switch len(found) {
	case 0:
		return "", errors.New("no such task: " + name)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fmt.Errorf("%s is the beginning of %d tasks: %s", name, len(found), strings.Join(found, ", "))
}

func idOf(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func definition(t *introspection.TaskWaits) string {
	if t.Family == "" {
		return "-"
	}
	return t.Family + ":" + t.Version
}

func status(t *introspection.TaskWaits) string {
	if t.KnownStatus == t.DesiredStatus {
		return t.KnownStatus
	}
	return t.KnownStatus + " -> " + t.DesiredStatus
}

// brief puts waits into one line.
func brief(waits []introspection.Wait) string {
	if len(waits) == 0 {
		return "-"
	}
	parts := make([]string, len(waits))
	for i, w := range waits {
		parts[i] = w.Detail
		if w.Container != "" && !strings.Contains(w.Detail, "container "+w.Container) {
			parts[i] = w.Container + ": " + w.Detail
		}
	}
	return oneLine(strings.Join(parts, "; "))
}

// oneLine keeps text of elsewhere from breaking the table.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// age is how long ago a time was, in its two largest units.
func (v tasksView) age(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := max(0, v.now.Sub(since))
	switch day := 24 * time.Hour; {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
}
