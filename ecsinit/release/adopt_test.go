package release

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ecsagent/agent/store"
	"ecsagent/agent/update"
	"ecsagent/agent/update/bundle"
	"ecsagent/packaging/archive"
)

const working = "#!/bin/sh\nprintf 'Amazon ECS Agent:\\n\\tVersion: 7.0.0\\n'\n"

// stage leaves an update with an agent in a folder, as an agent would.
func stage(t *testing.T, arch, agent string) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	image := archive.Image{Tag: "agent:7", Arch: arch, Config: map[string]any{}, Files: []archive.File{
		{Name: "etc/passwd", Mode: 0o644, Content: []byte("not this")}, {Name: bundle.Program[1:], Mode: 0o755, Content: []byte(agent)},
	}}
	if agent == "" {
		image.Files = image.Files[:1]
	}
	content, err := image.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	write(t, filepath.Join(dir, "x"+update.Suffix), string(content))
	write(t, filepath.Join(dir, update.DesiredImage), "x"+update.Suffix+"\n"+update.DesiredDigest+hex.EncodeToString(sum[:])+"\n")
	return dir, content
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAdopt(t *testing.T) {
	if agentState != store.FileName {
		t.Fatalf("the agent's state is %s, not %s", store.FileName, agentState)
	}
	dir, _ := stage(t, runtime.GOARCH, working)
	data := t.TempDir()
	for _, name := range []string{agentState, agentState + "-journal", agentState + ".unreadable-1", "other"} {
		write(t, filepath.Join(data, name), name)
	}
	staged, err := FindStaged(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := staged.Check()
	if err != nil {
		t.Fatal(err)
	}
	f := Folder(filepath.Join(t.TempDir(), "updates"))
	for range 2 { // the second time over the first
		r, err := f.Unpack(t.Context(), staged.ID, b, data)
		if err != nil || r.ID != staged.ID || r.Version != "7.0.0" {
			t.Fatalf("%+v, %v", r, err)
		}
		if text, err := os.ReadFile(f.Program(&r, "")); err != nil || string(text) != working {
			t.Errorf("unpacked %q, %v", text, err)
		}
		kept, err := filepath.Glob(filepath.Join(f.of(&r), before, "*"))
		if err != nil || len(kept) != 2 || filepath.Base(kept[0]) != agentState || filepath.Base(kept[1]) != agentState+"-journal" {
			t.Errorf("kept of the state: %q, %v", kept, err)
		}
	}
	if err := staged.Discard(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left of the update: %v", left)
	}
	if again, err := FindStaged(dir); again != nil || err != nil {
		t.Errorf("staged afterwards: %+v, %v", again, err)
	}
	if err := staged.Discard(); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestRefusesUpdates(t *testing.T) {
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	for name, c := range map[string]struct {
		arch, agent string
		harm        func(t *testing.T, dir string, content []byte)
		says        string
	}{
		"changed": {runtime.GOARCH, working, func(t *testing.T, dir string, content []byte) {
			write(t, filepath.Join(dir, "x"+update.Suffix), string(content)+"x")
		}, "the update is damaged: its SHA-256 is "},
		"half": {runtime.GOARCH, working, func(t *testing.T, dir string, content []byte) {
			write(t, filepath.Join(dir, "x"+update.Suffix), string(content[:len(content)/2]))
		}, "the update is damaged: its SHA-256 is "},
		"gone": {runtime.GOARCH, working, func(t *testing.T, dir string, _ []byte) {
			if err := os.Remove(filepath.Join(dir, "x"+update.Suffix)); err != nil {
				t.Fatal(err)
			}
		}, "read the update: "},
		"for another host":        {other, working, nil, "the update is for linux/" + other + ", this host is linux/" + runtime.GOARCH},
		"of another program":      {runtime.GOARCH, "", nil, "the image has no " + bundle.Program + ": it is of another program"},
		"no program":              {runtime.GOARCH, "garbage", nil, "ask the update for its version: "},
		"a program that fails":    {runtime.GOARCH, "#!/bin/sh\nexit 3\n", nil, "ask the update for its version: exit status 3"},
		"a program with no words": {runtime.GOARCH, "#!/bin/sh\n", nil, `ask the update for its version: it says ""`},
	} {
		t.Run(name, func(t *testing.T) {
			dir, content := stage(t, c.arch, c.agent)
			if c.harm != nil {
				c.harm(t, dir, content)
			}
			staged, err := FindStaged(dir)
			if err != nil {
				t.Fatal(err)
			}
			f := Folder(t.TempDir())
			b, err := staged.Check()
			if err == nil {
				_, err = f.Unpack(t.Context(), staged.ID, b, t.TempDir())
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if left, _ := os.ReadDir(string(f)); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestDesiredImage(t *testing.T) {
	digest := update.DesiredDigest + strings.Repeat("a", 64)
	for name, text := range map[string]string{
		"empty": "", "no end of line": "x.tar", "no hash": "x.tar\n", "half a hash": "x.tar\n" + digest[:40], "not hexadecimal": "x.tar\n" + strings.ToUpper(digest) + "\n",
		"a path": "../x.tar\n" + digest + "\n", "the folder": ".\n" + digest + "\n", "the folder above": "..\n" + digest + "\n", "no name": "\n" + digest + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, update.DesiredImage), text)
			write(t, filepath.Join(dir, "x.tar"), "not an update of an agent's")
			staged, err := FindStaged(dir)
			if err == nil {
				t.Fatalf("%+v", staged)
			}
			if err := staged.Discard(); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
