package docker

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"ecsagent/agent/runtime"
)

// raw answers with a connection that is no longer HTTP's, as Docker does. The request is
// read to its end first: a Unix socket closed on unread bytes resets what was written to it.
func raw(t *testing.T, w http.ResponseWriter, r *http.Request, talk func(io.Writer)) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Error(err)
		return
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	talk(conn)
}

// TestRunIn: a command's output of both streams and its exit code, and a limit to how long
// it is waited for and to what it may print.
func TestRunIn(t *testing.T) {
	f := newFake(t)
	var asked container.ExecOptions
	f.handle("POST /containers/c1/exec", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"Id":"e1"}`)
	})
	f.handle("POST /containers/deaf/exec", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Id":"e2"}`) })
	long := strings.Repeat("x", longestOutput)
	f.handle("POST /exec/e1/start", func(w http.ResponseWriter, r *http.Request) {
		raw(t, w, r, func(out io.Writer) {
			_, _ = fmt.Fprint(stdcopy.NewStdWriter(out, stdcopy.Stdout), "one ")
			_, _ = fmt.Fprint(stdcopy.NewStdWriter(out, stdcopy.Stderr), "two ", long)
		})
	})
	f.handle("GET /exec/e1/json", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ID":"e1","ExitCode":3}`) })
	ended := make(chan struct{})
	f.handle("POST /exec/e2/start", func(w http.ResponseWriter, r *http.Request) {
		raw(t, w, r, func(io.Writer) { <-ended })
	})
	c := f.connect(t, Timeouts{Command: 200 * time.Millisecond})
	out, err := c.RunIn(t.Context(), "c1", runtime.Command{User: "ContainerAdministrator", Args: []string{"netsh", "show"}})
	if err != nil || out.ExitCode != 3 || !strings.HasPrefix(out.Output, "one two xx") || len(out.Output) != longestOutput {
		t.Errorf("%d %d bytes: %v", out.ExitCode, len(out.Output), err)
	}
	if asked.User != "ContainerAdministrator" || strings.Join(asked.Cmd, " ") != "netsh show" || !asked.AttachStdout || !asked.AttachStderr || asked.Tty {
		t.Errorf("asked for %+v", asked)
	}
	if _, err := c.RunIn(t.Context(), "gone", runtime.Command{Args: []string{"x"}}); err == nil || !strings.HasPrefix(err.Error(), "CannotCreateContainerExecError: ") {
		t.Error(err)
	}
	_, err = c.RunIn(t.Context(), "deaf", runtime.Command{Args: []string{"x"}})
	close(ended)
	if err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Error(err)
	}
}
