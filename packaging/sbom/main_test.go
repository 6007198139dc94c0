package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The test's own program is described: it was built of modules too.
func TestDescribe(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "pause.tar")
	if err := os.WriteFile(archive, []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	var texts [][]byte
	for _, name := range []string{"a.json", "b.json"} {
		out := filepath.Join(dir, name)
		if err := run("x_1_amd64", "1", runtime.GOARCH, "1000000000", out, []string{archive, os.Args[0]}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("the document differs from time to time")
	}
	var doc document
	if err := json.Unmarshal(texts[0], &doc); err != nil {
		t.Fatal(err)
	}
	if doc.CreationInfo.Created != "2001-09-09T01:46:40Z" || len(doc.Files) != 2 || !strings.HasPrefix(doc.DocumentNamespace, "https://spdx.org/spdxdocs/x_1_amd64-") {
		t.Errorf("%+v", doc)
	}
	ids := []string{documentID}
	for _, p := range doc.Packages {
		ids = append(ids, p.SPDXID)
	}
	for _, f := range doc.Files {
		ids = append(ids, f.SPDXID)
	}
	if slices.Sort(ids); len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("ids are there twice: %q", ids)
	}
	for _, r := range doc.Relationships {
		if !slices.Contains(ids, r.Element) || !slices.Contains(ids, r.Related) {
			t.Errorf("%+v leads nowhere", r)
		}
	}
	if !slices.ContainsFunc(doc.Packages, func(p pkg) bool { return p.Name == "stdlib" && p.VersionInfo != "" }) {
		t.Errorf("the Go release is not named: %+v", doc.Packages)
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, try := range map[string]struct {
		arch, time string
		files      []string
	}{
		`-time "soon": want seconds since 1970`:                             {"", "soon", nil},
		"read what is described: ":                                          {"", "0", []string{filepath.Join(dir, "none")}},
		"read what " + text + " was built of: ":                             {"", "0", []string{text}},
		os.Args[0] + " was built for " + runtime.GOARCH + ", not for s390x": {"s390x", "0", []string{os.Args[0]}},
	} {
		if err := run("x", "1", try.arch, try.time, filepath.Join(dir, "out"), try.files); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
