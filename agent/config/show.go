package config

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Exit codes of the config commands.
const (
	ExitOK         = 0
	ExitFindings   = 1 // config check found something; config show: the agent would not run
	ExitUnreadable = 2 // the file to check cannot be read, or the output not written
)

// Format is how a command prints.
type Format string

// The formats.
const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// Value is one effective setting as people may see it.
type Value struct {
	Name   string `json:"name"`           // variable, or JSON member where there is none
	JSON   string `json:"json,omitempty"` // JSON member
	Value  string `json:"value"`          // secrets redacted
	Origin string `json:"origin"`
}

// Show lists the effective settings in the order of the reference page. Variables
// of libraries, and those without effect, are listed when they are set.
func Show(c *Config) []Value {
	var list []Value
	for _, s := range Settings() {
		origin, resolved := c.origins[s.key()]
		if !resolved || s.Hidden || s.Foreign {
			continue
		}
		if (s.Passthrough || s.NoEffect != "" || s.Under != "") && !c.Explicit(s.key()) && s.Name != envRegion && s.Name != "DOCKER_HOST" {
			continue
		}
		list = append(list, Value{
			Name: s.key(), JSON: s.JSON, Value: s.show(s.value.format(s.value.load(c))), Origin: origin.String(),
		})
	}
	for _, service := range sortedKeys(c.AWS.EndpointURLs) {
		name := endpointPrefix + service
		list = append(list, Value{Name: name, Value: hideUserinfo(c.AWS.EndpointURLs[service]), Origin: c.origins[name].String()})
	}
	return list
}

// RunShow prints the effective settings with the origin of each; the result is the
// exit code.
func RunShow(ctx context.Context, w io.Writer, src Sources, format Format) int {
	c, _, loadErr := Load(ctx, src)
	values := Show(c)
	var err error
	if format == FormatJSON {
		err = writeJSON(w, values)
	} else {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "NAME\tVALUE\tORIGIN")
		for _, v := range values {
			fmt.Fprintf(table, "%s\t%s\t%s\n", v.Name, oneLine(v.Value), v.Origin)
		}
		err = table.Flush()
	}
	switch {
	case err != nil:
		return ExitUnreadable
	case loadErr != nil:
		return ExitFindings
	default:
		return ExitOK
	}
}

// RunCheck prints the findings, one a line, of one file or, without one, of all
// sources; the result is the exit code.
func RunCheck(ctx context.Context, w io.Writer, src Sources, file string, format Format) int {
	var findings []Finding
	if file == "" {
		findings = Check(ctx, src)
	} else {
		var err error
		if findings, err = CheckFile(src, file); err != nil {
			fmt.Fprintln(w, err)
			return ExitUnreadable
		}
	}
	if err := writeFindings(w, findings, format); err != nil {
		return ExitUnreadable
	}
	if len(findings) > 0 {
		return ExitFindings
	}
	return ExitOK
}

// jsonFinding is a finding as config check prints it with --output json.
type jsonFinding struct {
	Severity Severity `json:"severity"`
	Source   string   `json:"source"`
	Line     int      `json:"line,omitempty"`
	Name     string   `json:"name,omitempty"`
	Value    string   `json:"value,omitempty"`
	Problem  string   `json:"problem"`
	Want     string   `json:"want,omitempty"`
}

func writeFindings(w io.Writer, findings []Finding, format Format) error {
	if format == FormatJSON {
		list := make([]jsonFinding, 0, len(findings))
		for _, f := range findings {
			source := f.Origin
			source.Line, source.Note = 0, ""
			list = append(list, jsonFinding{f.Severity, source.String(), f.Origin.Line, f.Name, f.Value, f.Problem, f.Want})
		}
		return writeJSON(w, list)
	}
	for _, f := range findings {
		if _, err := fmt.Fprintln(w, oneLine(f.String())); err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// oneLine keeps control characters of what was found out of the terminal.
func oneLine(s string) string {
	clean := []rune(s)
	for i, r := range clean {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			clean[i] = '?'
		}
	}
	return string(clean)
}
