package config

import (
	"fmt"
	"strings"
)

// assignment is one NAME=VALUE of a source, or one member of a JSON document.
type assignment struct {
	name   string
	text   string
	raw    []byte // JSON value; nil for text
	origin Origin
}

// parseEnvFile reads the text of an ecs.config file (docs/spec/03 section 1.7). Of
// several lines with one name the last wins, as everywhere else.
func parseEnvFile(path string, content []byte) ([]assignment, []Finding) {
	var (
		list     []assignment
		findings []Finding
		at       = map[string]int{} // name to its place in list
	)
	content = trimBOM(content)
	for i, line := range strings.Split(string(content), "\n") {
		origin := Origin{Source: SourceEnvFile, Path: path, Line: i + 1}
		a, found, ok := parseEnvLine(strings.TrimSpace(line), origin)
		findings = append(findings, found...)
		if !ok {
			continue
		}
		if old, dup := at[a.name]; dup {
			findings = append(findings, Finding{
				Severity: Warning, Origin: list[old].origin, Name: a.name,
				Problem: fmt.Sprintf("is set again on line %d, which wins", i+1),
			})
			list[old] = a
			continue
		}
		at[a.name] = len(list)
		list = append(list, a)
	}
	return list, findings
}

// parseEnvLine reads one line without its outer blanks.
func parseEnvLine(line string, origin Origin) (a assignment, findings []Finding, ok bool) {
	if line == "" || line[0] == '#' || line[0] == ';' {
		return a, nil, false
	}
	report := func(s Severity, name, problem, want string) {
		findings = append(findings, Finding{Severity: s, Origin: origin, Name: name, Problem: problem, Want: want})
	}
	name, value, hasEqual := strings.Cut(line, "=")
	name = strings.TrimSpace(name)
	if rest, exported := strings.CutPrefix(name, "export "); exported {
		name = strings.TrimSpace(rest)
		report(Notice, clip(name), `has "export" before it, which other readers of this file do not accept`, "NAME=VALUE")
	}
	if !hasEqual {
		// The line may hold a secret, so no more than its first word is shown.
		first := strings.Fields(line)[0]
		if !validName(first) {
			first = ""
		}
		report(Warning, clip(first), "the line has no '=' and is left out", "NAME=VALUE")
		return a, findings, false
	}
	if !validName(name) {
		report(Warning, "", fmt.Sprintf("%q is not a variable name, the line is left out", clip(name)), "letters, digits and _, no digit first")
		return a, findings, false
	}
	value, problem := unquote(strings.TrimSpace(value))
	if strings.ContainsRune(value, 0) {
		report(Warning, name, "has a NUL byte in its value, the line is left out", "text")
		return a, findings, false
	}
	if problem != "" {
		report(Notice, name, problem, "")
	}
	return assignment{name: name, text: value, origin: origin}, findings, true
}

// unquote removes one pair of surrounding quotes, and says what looks unintended
// about the quotes or blanks of what is left.
func unquote(value string) (string, string) {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[0] == value[len(value)-1] {
		value = value[1 : len(value)-1]
		if value != strings.TrimSpace(value) {
			return value, "has blanks just inside its quotes, which are part of the value"
		}
		return value, ""
	}
	if value == "" {
		return value, ""
	}
	first, last := value[0], value[len(value)-1]
	switch {
	case first == '"' || first == '\'' || last == '"' || last == '\'':
		return value, "has a quote at one end only, which is part of the value"
	case first != '[' && first != '{' && strings.Contains(value, " #"):
		return value, "has a # in its value; a comment must have its own line"
	default:
		return value, ""
	}
}

// validName reports whether s is [A-Za-z_][A-Za-z0-9_]*.
func validName(s string) bool {
	if s == "" {
		return false
	}
	for i, r := range s {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

// trimBOM drops the byte order mark that some editors write first.
func trimBOM(content []byte) []byte {
	const bom = "\xef\xbb\xbf"
	if len(content) >= len(bom) && string(content[:len(bom)]) == bom {
		return content[len(bom):]
	}
	return content
}
