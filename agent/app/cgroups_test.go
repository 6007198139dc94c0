package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/platform"
	"ecsagent/agent/runtime/docker"
)

// TestCgroupsNeedDockersAnswer: an engine that does not answer is no host without
// cgroups. The agent is started again, also where the setting was explicit.
func TestCgroupsNeedDockersAnswer(t *testing.T) {
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.41")
		case strings.HasSuffix(r.URL.Path, "/version"):
			_, _ = io.WriteString(w, `{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10.24","Os":"linux"}`)
		default:
			http.Error(w, `{"message":"busy"}`, http.StatusInternalServerError)
		}
	}))
	defer engine.Close()
	client, err := docker.New(t.Context(), docker.Options{Host: "tcp://" + engine.Listener.Addr().String(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a := &agent{docker: client, base: &base{
		cfg: &config.Config{TaskCPUMemLimit: true, CgroupPath: t.TempDir()}, host: platform.Host{OSType: "linux"}, log: zap.NewNop(),
	}}
	err = a.prepareCgroups(t.Context())
	if err == nil || !strings.Contains(err.Error(), "busy") || a.cgroups != nil {
		t.Fatalf("error %v, cgroups %v", err, a.cgroups)
	}
	if code := exitCode(context.Background(), err); code != ExitFailure {
		t.Errorf("exit code %d, want %d", code, ExitFailure)
	}
}
