package pause

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// saved is an archive of an image with one layer, named as its content.
func saved(tag, layer string) []byte {
	config := fmt.Sprintf(`{"config":{"Cmd":["/pause"]},"rootfs":{"diff_ids":["sha256:%s"]}}`, layer)
	return pack(map[string]string{
		"manifest.json": fmt.Sprintf(`[{"Config":"c.json","RepoTags":[%q]}]`, tag), "c.json": config, "x/layer.tar": "not a document",
	})
}

func pack(files map[string]string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		if w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}) == nil {
			_, _ = w.Write([]byte(content))
		}
	}
	_ = w.Close()
	return out.Bytes()
}

// engine is a Docker with at most one image.
type engine struct {
	image  *runtime.ImageContent
	fails  error
	byHash bool // ids are not those of configurations
	calls  []string
}

func (e *engine) ImageContent(_ context.Context, ref string) (runtime.ImageContent, error) {
	e.calls = append(e.calls, "look")
	if e.image == nil || ref != Image {
		return runtime.ImageContent{}, fmt.Errorf("no %s: %w", ref, runtime.ErrNotFound)
	}
	return *e.image, nil
}

func (e *engine) LoadImage(_ context.Context, archive io.Reader) error {
	e.calls = append(e.calls, "load")
	if e.fails != nil {
		return e.fails
	}
	content, err := contentOf(archive, Image)
	if err != nil {
		return err
	}
	if e.byHash {
		content.ID = "sha256:manifest"
	}
	e.image = content
	return nil
}

func TestEnsure(t *testing.T) {
	content := func(layer string) *runtime.ImageContent {
		c, err := contentOf(bytes.NewReader(saved(Image, layer)), Image)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := func(c *runtime.ImageContent) *runtime.ImageContent { c.ID = "sha256:manifest"; return c }
	for name, c := range map[string]struct {
		engine  engine
		archive []byte // nil: there is none
		calls   string
		err     string
	}{
		"missing":               {engine{}, saved(Image, "a"), "look load look", ""},
		"there":                 {engine{image: content("a")}, saved(Image, "a"), "look", ""},
		"there, another id":     {engine{image: other(content("a"))}, saved(Image, "a"), "look", ""},
		"changed":               {engine{image: content("b")}, saved(Image, "a"), "look load look", ""},
		"containerd":            {engine{byHash: true}, saved(Image, "a"), "look load look", ""},
		"no archive":            {engine{}, nil, "look", "open the archive of the image " + Image + ": "},
		"no archive, there":     {engine{image: content("a")}, nil, "look", ""},
		"broken archive":        {engine{}, []byte("nonsense that is longer than a header" + strings.Repeat("x", 600)), "look", "read the archive "},
		"broken archive, there": {engine{image: content("a")}, []byte(strings.Repeat("x", 600)), "look", ""},
		"another image":         {engine{}, saved("other:1", "a"), "look", "it has no image amazon/amazon-ecs-pause:0.1.0"},
		"load fails":            {engine{fails: errors.New("disk full")}, saved(Image, "a"), "look load", "load the image " + Image + ": disk full"},
		"load fails, there":     {engine{image: content("b"), fails: errors.New("disk full")}, saved(Image, "a"), "look load", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pause.tar")
			if c.archive != nil {
				if err := os.WriteFile(file, c.archive, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := (&Loader{Engine: &c.engine, Archive: file, Log: zap.NewNop()}).Ensure(t.Context())
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if got := strings.Join(c.engine.calls, " "); got != c.calls {
				t.Errorf("calls %q, want %q", got, c.calls)
			}
		})
	}
}

func TestContentOf(t *testing.T) {
	config := `{"config":{"Entrypoint":["/p"],"Cmd":["a"]},"rootfs":{"diff_ids":["sha256:1","sha256:2"]}}`
	got, err := contentOf(bytes.NewReader(pack(map[string]string{
		"./manifest.json": `[{"Config":"x.json","RepoTags":["other:1"]},{"Config":"blobs/c","RepoTags":["` + Image + `"]}]`, "blobs/c": config,
	})), Image)
	sum := sha256.Sum256([]byte(config))
	if err != nil || got.ID != "sha256:"+hex.EncodeToString(sum[:]) || fmt.Sprint(got.Layers, got.Command) != "[sha256:1 sha256:2] [/p a]" {
		t.Errorf("content %+v, %v", got, err)
	}
	for name, files := range map[string]map[string]string{
		"nothing":          {},
		"no manifest":      {"c.json": "{}"},
		"bad manifest":     {"manifest.json": "{}"},
		"no configuration": {"manifest.json": `[{"Config":"x.json","RepoTags":["` + Image + `"]}]`},
		"bad one":          {"manifest.json": `[{"Config":"x.json","RepoTags":["` + Image + `"]}]`, "x.json": "["},
	} {
		if _, err := contentOf(bytes.NewReader(pack(files)), Image); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzContentOf(f *testing.F) {
	f.Add(saved(Image, "a"))
	f.Add(pack(map[string]string{"manifest.json": "null"}))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		if c, err := contentOf(bytes.NewReader(archive), Image); (c == nil) != (err != nil) {
			t.Errorf("content %v, error %v", c, err)
		}
	})
}
