package shell

import (
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	for command, want := range map[string][]string{
		`/bin/sh`:                     {"/bin/sh"},
		"  ls\t-l   /  ":              {"ls", "-l", "/"},
		`sh -c "echo 'a  b' \"$x\""`:  {"sh", "-c", `echo 'a  b' "$x"`},
		`'it'\''s' "" a\ b "\n" '\n'`: {"it's", "", "a b", `\n`, `\n`},
	} {
		got, err := words(command)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", command, got, err, want)
		}
	}
	for _, command := range []string{"", "  ", `sh -c "x`, `'`, `a\`} {
		if got, err := words(command); err == nil {
			t.Errorf("%q: %q", command, got)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add(`sh -c "echo 'a b'"`)
	f.Fuzz(func(t *testing.T, command string) {
		if list, err := words(command); err == nil && len(list) == 0 {
			t.Errorf("%q is no words and no error", command)
		}
	})
}
