package linux

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDomainJoined(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if joined, err := DomainJoined(t.Context()); joined || err != nil {
		t.Errorf("without realmd: %v, %v", joined, err)
	}
	for script, want := range map[string]struct{ joined, fails bool }{
		"echo contoso.com; echo '  type: kerberos'; echo '  realm-name: CONTOSO.COM'": {true, false},
		":":                           {false, false},
		"echo '  realm-name: '":       {false, false},
		"echo no realm-name: is here": {false, false},
		"exit 1":                      {false, true},
	} {
		if err := os.WriteFile(filepath.Join(dir, "realm"), []byte("#!/bin/sh\n[ \"$1\" = list ] || exit 9\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
		if joined, err := DomainJoined(t.Context()); joined != want.joined || (err != nil) != want.fails {
			t.Errorf("%s: %v, %v", script, joined, err)
		}
	}
}
