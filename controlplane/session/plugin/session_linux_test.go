package plugin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/controlplane/session"
	"ecsagent/controlplane/session/broker"
	"ecsagent/controlplane/session/plugin"
	"ecsagent/controlplane/session/shell"
)

func TestMain(m *testing.M) {
	// A client's reader of the terminal ends with the program.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("ecsagent/controlplane/session/plugin.(*client).input"))
}

// world is a broker and the agent of one container, here on the host.
type world struct {
	broker *broker.Broker
	url    string
	folder string
}

func newWorld(t *testing.T, sessions int) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "ecs-session-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{folder: filepath.Join(dir, "task", "app"), broker: broker.New(broker.Options{Dir: dir})}
	if err := os.MkdirAll(w.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(broker.Path, w.broker)
	server := httptest.NewServer(mux)
	w.url = "ws" + strings.TrimPrefix(server.URL, "http")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	agent := &shell.Server{Folder: w.folder, Limit: sessions, Version: "1", Log: zap.NewNop()}
	go func() { ended <- agent.Serve(ctx) }()
	for limit := time.Now().Add(time.Minute); ; {
		if _, err := os.Stat(filepath.Join(w.folder, session.SocketName)); err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the agent does not listen")
		}
		<-time.After(time.Millisecond)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Close()
		w.broker.Close()
		_ = os.RemoveAll(dir)
	})
	return w
}

// open is a session for a command.
func (w *world) open(command string) plugin.Session {
	id, token, path := w.broker.Open("task", "app", command)
	return plugin.Session{SessionID: id, StreamURL: w.url + path, TokenValue: token}
}

// run runs a command with an input and returns what it printed.
func (w *world) run(t *testing.T, s plugin.Session, input string) (string, plugin.Result, error) {
	t.Helper()
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		_, _ = io.WriteString(typed, input)
		_ = typed.Close()
	}()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := plugin.Run(ctx, plugin.Options{Session: s, In: in, Out: &out, Version: "1"})
	return out.String(), result, err
}

func TestSession(t *testing.T) {
	w := newWorld(t, 2)
	out, result, err := w.run(t, w.open(`sh -c 'test -t 0 && echo a terminal; read x; echo "got $x"; exit 5'`), "words\n")
	if err != nil || result.ExitCode == nil || *result.ExitCode != 5 || !strings.Contains(out, "a terminal\r\n") || !strings.Contains(out, "got words\r\n") {
		t.Errorf("%q, %+v: %v", out, result, err)
	}
	// Much output arrives whole, and what the program left behind does not hold up the end.
	out, result, err = w.run(t, w.open(`sh -c 'sleep 3600 & i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; kill -9 $$'`), "")
	if err != nil || result.ExitCode == nil || *result.ExitCode != 137 || !strings.Contains(out, "line 19999\r\n") || strings.Count(out, "\n") < 20000 {
		t.Errorf("%d bytes, %+v: %v", len(out), result, err)
	}
	for command, want := range map[string]string{"/no/such/program": "no such file", `sh "`: "quotation"} {
		if _, result, err := w.run(t, w.open(command), ""); err != nil || !strings.Contains(result.Output, want) {
			t.Errorf("%s: %+v, %v", command, result, err)
		}
	}
}

func TestSessionRefused(t *testing.T) {
	w := newWorld(t, 1)
	s := w.open("cat")
	wrong := s
	wrong.TokenValue = "guess"
	if _, _, err := w.run(t, wrong, ""); err == nil {
		t.Error("a wrong token opened a session")
	}
	if out, result, err := w.run(t, s, "hello\n"); err != nil || result.ExitCode == nil || *result.ExitCode != 0 || !strings.Contains(out, "hello") {
		t.Errorf("after a wrong token %q, %+v: %v", out, result, err)
	}
	if _, _, err := w.run(t, s, ""); err == nil {
		t.Error("a token opened a second session")
	}
	// A second session where one is allowed.
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var first sync.WaitGroup
	out := &watched{want: "ready", seen: make(chan struct{})}
	first.Go(func() {
		_, err := plugin.Run(t.Context(), plugin.Options{Session: w.open(`sh -c 'echo ready; cat'`), In: in, Out: out})
		if err != nil {
			t.Error(err)
		}
	})
	<-out.seen
	if _, result, err := w.run(t, w.open("cat"), ""); err != nil || !strings.Contains(result.Output, "1 sessions already") {
		t.Errorf("a session too many: %+v, %v", result, err)
	}
	_ = typed.Close()
	first.Wait()

	// What is no socket is not connected to, nor followed.
	path := filepath.Join(w.folder, session.SocketName)
	if err := os.Rename(path, path+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".real", path); err != nil {
		t.Fatal(err)
	}
	if _, result, err := w.run(t, w.open("cat"), ""); err != nil || !strings.Contains(result.Output, "does not answer") {
		t.Errorf("over a link: %+v, %v", result, err)
	}
}

// watched tells when a word was written.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen chan struct{}
	told bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if !w.told && strings.Contains(w.text.String(), w.want) {
		w.told = true
		close(w.seen)
	}
	return len(p), nil
}

func TestProgram(t *testing.T) {
	w := newWorld(t, 1)
	s := w.open("true")
	argument := fmt.Sprintf(`{"sessionId":%q,"streamUrl":%q,"tokenValue":%q}`, s.SessionID, s.StreamURL, s.TokenValue)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 0, "is there"},
		{[]string{"--version"}, 0, "9.9"},
		{[]string{"{}"}, 2, "no session"},
		{[]string{argument, "us-east-1", "StartSession", "", "{}", "http://x"}, 0, "Exiting session with sessionId: " + s.SessionID},
		{[]string{argument, "us-east-1", "StartSession"}, 1, "broke"}, // it is used up
	} {
		var out bytes.Buffer
		if code := plugin.Main(t.Context(), null, &out, &out, "9.9", tt.args); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: exit code %d, %s", tt.args, code, out.String())
		}
	}
}
