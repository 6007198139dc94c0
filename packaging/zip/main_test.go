package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "one\ntwo\n", "b": "one\r\ntwo\n", "c": "binary\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"z/a.txt=" + in("a"), "b.ps1=" + in("b"), "c.exe=" + in("c")}
	var archives [][]byte
	for _, out := range []string{"1.zip", "2.zip"} {
		if err := run("0", in(out), args); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(in(out))
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, content)
		args[0], args[2] = args[2], args[0]
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the archive depends on the order of arguments, or on the time")
	}
	r, err := zip.NewReader(bytes.NewReader(archives[0]), int64(len(archives[0])))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.File {
		e, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name] = string(text)
		if year := f.Modified.UTC().Year(); year != 1980 {
			t.Errorf("%s is of %d", f.Name, year)
		}
	}
	if got["z/a.txt"] != "one\r\ntwo\r\n" || got["b.ps1"] != "one\r\ntwo\r\n" || got["c.exe"] != "binary\n" || len(got) != 3 {
		t.Errorf("%q", got)
	}
	for want, c := range map[string][]string{"want NAME=FILE": {"0", "x"}, "want seconds": {"x"}, "read what is packed": {"0", "x=" + in("none")}} {
		if err := run(c[0], in("3.zip"), c[1:]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", c, err, want)
		}
	}
}
