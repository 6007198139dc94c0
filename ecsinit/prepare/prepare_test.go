package prepare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"ecsagent/ecsinit/gpus"
	"ecsagent/ecsinit/step"
)

func run(t *testing.T, s ...step.Step) (out, told string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	err = step.Runner{Out: &o, Err: &e}.Run(t.Context(), s...)
	return o.String(), e.String(), err
}

func TestDescribeGPUs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gpu", "info.json")
	answer, fail := "1.2.3, GPU-a\n1.2.3, GPU-b\n", error(nil)
	host := gpus.Finder{Root: fstest.MapFS{"dev/nvidia0": {}}, Run: func(context.Context, string, ...string) (string, error) { return answer, fail }}
	bare := gpus.Finder{Root: fstest.MapFS{}}
	for _, c := range []struct {
		name   string
		wanted bool
		finder gpus.Finder
		fail   error
		out    string
		there  bool
	}{
		{name: "not asked for", finder: host},
		{name: "none", wanted: true, finder: bare},
		{name: "two", wanted: true, finder: host, out: "GPUs: describe 2 with driver 1.2.3 in " + file + "\n", there: true},
		{name: "the same two", wanted: true, finder: host, there: true},
		{name: "the driver fails", wanted: true, finder: host, fail: errors.New("no driver"), out: "GPUs: remove " + file + ": ask nvidia-smi: no driver"},
		{name: "it is back", wanted: true, finder: host, out: "GPUs: describe 2", there: true},
		{name: "the host lost them", wanted: true, finder: bare, out: "GPUs: remove " + file + ": there are none\n"},
		{name: "back once more", wanted: true, finder: host, out: "GPUs: describe 2", there: true},
		{name: "not wanted any more", finder: host, out: "GPUs: remove " + file + ": ECS_ENABLE_GPU_SUPPORT is off\n"},
	} {
		fail = c.fail
		out, told, err := run(t, describeGPUs(c.wanted, file, c.finder))
		if err != nil || told != "" || !strings.HasPrefix(out, c.out) || c.out == "" && out != "" {
			t.Errorf("%s: %v, %q, printed %q", c.name, err, told, out)
		}
		if _, err := os.Stat(file); (err == nil) != c.there {
			t.Errorf("%s: file: %v", c.name, err)
		}
	}
}

// engine is what of Docker the removal of a container needs.
type engine struct {
	mu     sync.Mutex
	images map[string]string // by id
	calls  []string
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := strings.Split(strings.TrimPrefix(r.URL.Path, "/containers/"), "/")[0]
	switch {
	case r.URL.Path == "/containers/json":
		if r.URL.Query().Get("filters") != `{"name":["^/ecs-agent$"]}` || r.URL.Query().Get("all") != "1" {
			http.Error(w, "bad query", http.StatusBadRequest)
			return
		}
		var list []string
		for id, image := range e.images {
			list = append(list, fmt.Sprintf(`{"Id":%q,"Image":%q,"Names":["/ecs-agent"]}`, id, image))
		}
		fmt.Fprintf(w, "[%s]", strings.Join(list, ","))
	case e.images[id] == "":
		http.Error(w, "no such container", http.StatusNotFound)
	case r.Method == http.MethodPost:
		e.calls = append(e.calls, r.Method+" "+r.URL.String())
		w.WriteHeader(http.StatusNotModified)
	case r.Method == http.MethodDelete:
		e.calls = append(e.calls, r.Method+" "+r.URL.String())
		delete(e.images, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

func TestRemoveOfficial(t *testing.T) {
	const id = "0123456789abcdef"
	for image, ours := range map[string]bool{
		"amazon/amazon-ecs-agent:latest":               true,
		"public.ecr.aws/ecs/amazon-ecs-agent:v1.105.1": true,
		"amazon/amazon-ecs-agent@sha256:0123":          true,
		"registry:5000/tools/ecs-agent:1":              false,
		"amazon-ecs-agent-exporter":                    false,
	} {
		t.Run(image, func(t *testing.T) {
			e := &engine{images: map[string]string{id: image}}
			server := httptest.NewServer(e)
			defer server.Close()
			s := removeOfficial("tcp://" + server.Listener.Addr().String())
			out, told, err := run(t, s)
			if err != nil || told != "" || (len(e.images) == 0) != ours {
				t.Errorf("%v, %q, %q; left %v", err, out, told, e.images)
			}
			if want := "POST /containers/" + id + "/stop?t=10 DELETE /containers/" + id + "?force=1"; ours && strings.Join(e.calls, " ") != want {
				t.Errorf("calls %q", e.calls)
			}
			if out, _, err := run(t, s); err != nil || out != "" {
				t.Errorf("once more: %q, %v", out, err)
			}
		})
	}
}

// Docker that does not answer keeps nobody from preparing the rest.
func TestNoDocker(t *testing.T) {
	out, told, err := run(t, removeOfficial("unix://"+filepath.Join(t.TempDir(), "docker.sock")))
	if err != nil || out != "" || !strings.Contains(told, "other agents: ask Docker for a container") {
		t.Errorf("%v, %q, %q", err, out, told)
	}
}
