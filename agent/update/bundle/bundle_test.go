package bundle

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"ecsagent/packaging/archive"
)

// Whatever an archive holds, it is read or refused.
func FuzzOpen(f *testing.F) {
	image := archive.Image{Tag: "agent:7", OS: runtime.GOOS, Arch: runtime.GOARCH, Config: map[string]any{}, Files: []archive.File{{Name: Program[1:], Mode: 0o755, Content: []byte("agent")}}}
	content, err := image.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:512])
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path, agent := filepath.Join(dir, "x"), filepath.Join(dir, "agent")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(path)
		if err == nil {
			err = b.Extract(agent)
		}
		if err == nil {
			if _, err := os.Stat(agent); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	image := archive.Image{Tag: "agent:7", OS: runtime.GOOS, Arch: runtime.GOARCH, Files: []archive.File{{Name: Program[1:], Mode: 0o755, Content: []byte("agent")}},
		Config: map[string]any{"Labels": map[string]string{VersionLabel: "7"}}}
	path := filepath.Join(dir, "x")
	if err := image.Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.Version != "7" || len(b.Config) != 64 {
		t.Errorf("%+v", b)
	}
	agent := filepath.Join(dir, "agent")
	if err := b.Extract(agent); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(agent); err != nil || string(text) != "agent" {
		t.Errorf("%q, %v", text, err)
	}
	if err := b.Extract(agent); err == nil {
		t.Error("a file that is there is written over")
	}
}
