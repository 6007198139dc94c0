package config

import (
	"fmt"
	"io"
	"strings"
)

// Reference writes the reference page, docs/configuration.md.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceIntro)
	section := ""
	for _, s := range Settings() {
		if s.Hidden || s.Foreign {
			continue
		}
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(&b, "\n## %s\n\n| Variable | JSON member | Value | Default | Meaning |\n| --- | --- | --- | --- | --- |\n", section)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", variableCell(&s), code(s.JSON), valueCell(&s), defaultCell(&s), meaningCell(&s))
	}
	_, err := io.WriteString(w, b.String())
	if err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	return nil
}

const referenceIntro = `# Configuration

<!-- Made from the table in agent/config by "ecs-agent config reference"; do not edit. -->

The agent takes each setting from the highest of these sources that has a usable
value:

| # | Source | Form |
| --- | --- | --- |
| 1 | command line flags | ` + "`-loglevel`, `-loglevel-driver`, `-loglevel-on-instance`, `-k`, `-blackhole-ec2-metadata`" + ` |
| 2 | process environment | variables |
| 3 | ` + "`/etc/ecs/ecs.config`" + ` (` + "`ECS_CONFIG_FILE`" + `) | one ` + "`NAME=VALUE`" + ` a line |
| 4 | ` + "`/var/lib/ecs/ecs.config`" + ` (` + "`ECS_INSTANCE_CONFIG_FILE`" + `) | one ` + "`NAME=VALUE`" + ` a line |
| 5 | ` + "`/etc/ecs/ecs.config.json`" + ` (` + "`ECS_AGENT_CONFIG_FILE_PATH`" + `) | JSON object |
| 6 | EC2 user data, if all of it is a JSON object | member ` + "`ECSAgentConfiguration`" + `, a JSON object |
| 7 | EC2 instance metadata | the region |
| 8 | default | |

` + "`ecs-agent config check`" + ` lists everything that is wrong, with file and line, and exits
non-zero if there is anything; ` + "`ecs-agent config check FILE`" + ` looks at one file.
` + "`ecs-agent config show`" + ` prints the effective settings and where each comes from.

**Files of variables.** Blank lines and lines that begin with ` + "`#` or `;`" + ` are skipped.
Blanks around name and value are removed, and one pair of quotes around the value.
Nothing is escaped or expanded. The last of several lines with one name wins. An empty
value is the same as none.

**Values.** Booleans are ` + "`true`, `false`, `1`, `0`, `t`, `f`" + ` (also ` + "`True`, `TRUE`" + ` and so on).
Durations are numbers with units: ` + "`90s`, `1h30m`" + `; a bare number is not a duration. In JSON,
durations are integers of nanoseconds, words are their index in the list, from 0, and
` + "`null`" + ` is not set. Names of JSON members are matched without regard to case.

**A value that cannot be used** is reported, and the next source is asked. Only these
keep the agent from running, with exit code 1: no region, a malformed JSON file, malformed
` + "`ECS_INSTANCE_ATTRIBUTES`, `ECS_CONTAINER_INSTANCE_TAGS` or `ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES`" + `,
and a log driver that ECS does not know.

**Paths** of the official agent's container (` + "`/data`, `/log`, `/managed-agents`" + ` and others) stand for
the host's, unless the agent runs in a container or the path exists on the host.

Rows marked † are additions of this agent. Windows paths use ` + "`%ProgramData%` and `%ProgramFiles%`" + `.
`

func variableCell(s *Setting) string {
	if s.Name == "" {
		return "—"
	}
	cell := code(s.Name)
	for _, alias := range s.Aliases {
		cell += ", " + code(alias)
	}
	if s.Ours {
		cell += " †"
	}
	return cell
}

func valueCell(s *Setting) string {
	if s.NoEffect != "" {
		return "—"
	}
	cell := s.value.kind()
	if s.Bounds != nil {
		linux, windows := s.Bounds.describe("linux"), s.Bounds.describe("windows")
		cell += ", " + linux
		if windows != linux {
			cell += " (Windows: " + windows + ")"
		}
	}
	return cell
}

func defaultCell(s *Setting) string {
	var parts []string
	add := func(system, def string) {
		if def != "" {
			parts = append(parts, strings.TrimSpace(system+" "+code(def)))
		}
	}
	switch {
	case s.On == onLinux:
		add("", s.Linux)
	case s.On == onWindows:
		add("", s.Windows)
	case s.Linux == s.Windows:
		add("", s.Linux)
	default:
		add("Linux:", s.Linux)
		add("Windows:", s.Windows)
	}
	if s.Computed != "" {
		parts = append(parts, s.Computed)
	}
	if len(parts) == 0 {
		return "—"
	}
	return strings.ReplaceAll(strings.Join(parts, "; "), "|", `\|`)
}

func meaningCell(s *Setting) string {
	cell := s.Text
	switch s.On {
	case onLinux:
		cell = "Linux only. " + cell
	case onWindows:
		cell = "Windows only. " + cell
	}
	if s.ReadBy != "" {
		cell += " Read by `" + s.ReadBy + "`."
	}
	if s.NoEffect != "" {
		cell += " No effect: " + s.NoEffect + "."
	}
	for _, need := range s.Needs {
		cell += " Only if " + need.text + "."
	}
	if s.value.malformedIsFatal() {
		cell += " Malformed: the agent does not start."
	}
	if s.Redact == redactAll {
		cell += " Never shown."
	}
	return strings.ReplaceAll(cell, "|", `\|`)
}

func code(s string) string {
	if s == "" {
		return "—"
	}
	return "`" + s + "`"
}
