package windows

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// code is a script of PowerShell without its comments and texts. Brackets are to match.
func code(text string) (string, error) {
	var out strings.Builder
	var open []byte
	closes := map[byte]byte{')': '(', '}': '{', ']': '['}
	for i, line := 0, 1; i < len(text); i++ {
		rest := text[i:]
		var end int // of a comment or text
		switch {
		case strings.HasPrefix(rest, "<#"):
			if end = strings.Index(rest, "#>"); end >= 0 {
				end++
			}
		case rest[0] == '#':
			if end = strings.IndexByte(rest, '\n'); end < 0 {
				end = len(rest)
			}
			end--
		case rest[0] == '\'' || rest[0] == '"':
			end = ending(rest)
		case rest[0] == '`':
			return "", fmt.Errorf("line %d: this does not know about `", line)
		default:
			switch c := rest[0]; {
			case strings.IndexByte("({[", c) >= 0:
				open = append(open, c)
			case closes[c] != 0:
				if len(open) == 0 || open[len(open)-1] != closes[c] {
					return "", fmt.Errorf("line %d: %c closes nothing", line, c)
				}
				open = open[:len(open)-1]
			case c == '\n':
				line++
			}
			out.WriteByte(rest[0])
			continue
		}
		if end < 0 {
			return "", fmt.Errorf("line %d: a comment or text does not end", line)
		}
		line += strings.Count(rest[:end+1], "\n")
		i += end
		out.WriteByte(' ')
	}
	if len(open) > 0 {
		return "", fmt.Errorf("%q are not closed", open)
	}
	return out.String(), nil
}

// ending is where a text ends: two quotes in it are one.
func ending(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] != text[0] {
			continue
		}
		if i+1 == len(text) || text[i+1] != text[0] {
			return i
		}
		i++
	}
	return -1
}

// automatic are variables that PowerShell has and nobody may set.
var automatic = regexp.MustCompile(`(?i)\$(script:|global:)?(home|host|pid|pshome|true|false|null|error|input|args|matches)\s*=[^=]`)

// TestScripts: what can be seen of the scripts without PowerShell.
func TestScripts(t *testing.T) {
	var scripts []string
	for _, pattern := range []string{"*.ps1", "ECSTools/*.ps*1"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, found...)
	}
	if len(scripts) < 3 {
		t.Fatalf("only %q", scripts)
	}
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := code(string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if bad := automatic.FindString(plain); bad != "" {
			t.Errorf("%s sets %s", name, bad)
		}
		if strings.ContainsFunc(string(text), func(r rune) bool { return r > 126 }) {
			t.Errorf("%s: PowerShell 5.1 reads files without a mark as ANSI, and this is not ASCII", name)
		}
	}
	for _, bad := range []string{"f {", "f )", "'x", "<# x", "( }"} {
		if _, err := code(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestModule: the functions and parameters that user data relies on are those of the
// specification's tables (docs/spec/03 section 6.8), each has its effect, and the manifest
// gives them out.
func TestModule(t *testing.T) {
	module, err := os.ReadFile("ECSTools/ECSTools.psm1")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile("ECSTools/ECSTools.psd1")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile("../../docs/spec/03-config-init-packaging.md")
	if err != nil {
		t.Fatal(err)
	}
	functions := rows(string(spec), "| Function | Role |")
	parameters := rows(string(spec), "| `Initialize-ECSAgent` parameter |")
	if len(functions) < 3 || len(parameters) < 10 {
		t.Fatalf("the specification's tables have changed: %q, %q", functions, parameters)
	}
	for _, row := range functions {
		name := regexp.MustCompile("`([A-Za-z-]+)`").FindStringSubmatch(row)[1]
		exported := regexp.MustCompile(`(?m)^Export-ModuleMember .*'` + name + `'`)
		if !strings.Contains(string(module), "\nfunction "+name+" {") || !exported.Match(module) || !strings.Contains(string(manifest), "'"+name+"'") {
			t.Errorf("%s is not there, or not given out", name)
		}
	}

	_, body, _ := strings.Cut(string(module), "function Initialize-ECSAgent {")
	body, _, _ = strings.Cut(body, "\n}\n")
	block, effects, _ := strings.Cut(body, "\n    )")
	var got, want []string
	for _, m := range regexp.MustCompile(`\[(?:string|switch)\] \$(\w+)`).FindAllStringSubmatch(block, -1) {
		got = append(got, m[1])
	}
	for _, row := range parameters {
		names, effect, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`-(\\w+)").FindAllStringSubmatch(names, -1) {
			want = append(want, m[1])
			if !regexp.MustCompile(`\$` + m[1] + `\b`).MatchString(effects) {
				t.Errorf("-%s does nothing", m[1])
			}
		}
		for _, m := range regexp.MustCompile("`((?:ECS|AWS)_\\w+)").FindAllStringSubmatch(effect, -1) {
			if !strings.Contains(effects, m[1]) {
				t.Errorf("%s is not set, which is the effect of %s", m[1], names)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("parameters %q, want %q", got, want)
	}
}

// rows are those of the table of a text that begins so, without its head.
func rows(text, begin string) (list []string) {
	_, rest, found := strings.Cut(text, begin)
	if !found {
		return nil
	}
	for i, line := range strings.Split(rest, "\n") {
		switch {
		case i > 1 && strings.HasPrefix(line, "|"):
			list = append(list, line)
		case i > 1:
			return list
		}
	}
	return list
}
