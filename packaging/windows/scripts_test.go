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
	for _, pattern := range []string{"*.ps1", "ECSTools/*.ps*1", "../pause/windows/*.ps1"} {
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

// TestModule: the functions and parameters that user data relies on (docs/spec/03 section
// 6.8), and what the manifest says of them.
func TestModule(t *testing.T) {
	module, err := os.ReadFile("ECSTools/ECSTools.psm1")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile("ECSTools/ECSTools.psd1")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(module), "function Initialize-ECSAgent {")
	_, block, _ := strings.Cut(body, "param(")
	block, _, _ = strings.Cut(block, "\n    )")
	var got []string
	for _, m := range regexp.MustCompile(`\[(?:string|switch)\] \$(\w+)`).FindAllStringSubmatch(block, -1) {
		got = append(got, m[1])
	}
	want := []string{"Cluster", "EnableTaskIAMRole", "LoggingDrivers", "EnableTaskENI", "AwsvpcBlockIMDS", "AwsvpcAdditionalLocalRoutes", "ECSAllowOffHostIntrospectionAccess",
		"Version", "ExternalInstance", "AWSDefaultRegion", "ECSEndpoint", "OverrideSourceRegion", "OverrideSourceBucket"}
	if !slices.Equal(got, want) {
		t.Errorf("parameters %q, want %q", got, want)
	}
	for _, f := range []string{"Initialize-ECSAgent", "Initialize-ECSHost", "Remove-ECSAgentInstallation"} {
		if !strings.Contains(string(module), "\nfunction "+f+" {") || !strings.Contains(string(manifest), "'"+f+"'") {
			t.Errorf("%s is not there", f)
		}
	}
}
