package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func through(t *testing.T, p *TCP) *bufio.ReadWriter {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriterSize(c, 0))
}

func say(t *testing.T, c *bufio.ReadWriter, line string) error {
	t.Helper()
	if _, err := c.WriteString(line + "\n"); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	got, err := c.ReadString('\n')
	if err == nil && got != line+"\n" {
		t.Fatalf("echo of %q was %q", line, got)
	}
	return err
}

func TestTCP(t *testing.T) {
	p, err := NewTCP("tcp", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := through(t, p)
	if err := say(t, c, "a"); err != nil {
		t.Fatal(err)
	}
	p.Silence()
	answered := make(chan error, 1)
	go func() { answered <- say(t, c, "b") }()
	select {
	case err := <-answered:
		t.Fatalf("an answer came through a silent proxy (error %v)", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.Resume()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	mute := through(t, p)
	if err := say(t, mute, "before"); err != nil {
		t.Fatal(err)
	}
	p.Mute()
	go func() { _ = say(t, mute, "never") }()
	c = through(t, p)
	if err := say(t, c, "after"); err != nil {
		t.Fatalf("a connection made after Mute: %v", err)
	}
	if n := p.Cut(); n != 3 {
		t.Errorf("cut %d connections, want 3", n)
	}
	if err := say(t, c, "c"); err == nil {
		t.Error("a cut connection answers")
	}
	p.Refuse(true)
	if err := say(t, through(t, p), "d"); err == nil {
		t.Error("a refusing proxy answers")
	}
	p.Refuse(false)
	p.SetLatency(50 * time.Millisecond)
	c, begin := through(t, p), time.Now()
	if err := say(t, c, "e"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 100*time.Millisecond {
		t.Errorf("an echo with 50 ms of latency each way took %v", d)
	}
}

func TestDockerCountsAndIntercepts(t *testing.T) {
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	defer engine.Close()
	d, err := NewDocker(filepath.Join(t.TempDir(), "d.sock"), "tcp://"+strings.TrimPrefix(engine.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", strings.TrimPrefix(d.Host(), "unix://"))
	}}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	get := func(path string) (int, string) {
		r, err := client.Get("http://docker" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	if status, body := get("/v1.41/containers/abc/json"); status != 200 || body != "/v1.41/containers/abc/json" {
		t.Errorf("got %d %q", status, body)
	}
	d.SetIntercept(func(c Call, w http.ResponseWriter, _ *http.Request) bool {
		if c.Path != "/containers/create" {
			return false
		}
		w.WriteHeader(500)
		return true
	})
	if status, _ := get("/v1.41/containers/create?name=x"); status != 500 {
		t.Errorf("an intercepted call got %d", status)
	}
	calls := d.Calls()
	if len(calls) != 2 || calls[0].String() != "GET /containers/{id}/json" || calls[1].Query != "name=x" {
		t.Errorf("calls %v", calls)
	}
}

func TestPattern(t *testing.T) {
	for in, want := range map[string]string{
		"/_ping":                                  "/_ping",
		"/v1.41/containers/json":                  "/containers/json",
		"/v1.41/containers/0abc/start":            "/containers/{id}/start",
		"/containers/create":                      "/containers/create",
		"/v1.41/images/127.0.0.1:5000/a/b:1/json": "/images/{id}/json",
		"/v1.41/images/create":                    "/images/create",
		"/v1.41/distribution/a/b:1/json":          "/distribution/{id}/json",
		"/v1.41/volumes/v1":                       "/volumes/{id}",
	} {
		if got := Pattern(in); got != want {
			t.Errorf("Pattern(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestECSRecordsAndLeadsWebsockets(t *testing.T) {
	up := websocket.Upgrader{}
	plane := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/ws") {
			c, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer c.Close()
			_, m, _ := c.ReadMessage()
			_ = c.WriteMessage(websocket.TextMessage, m)
			return
		}
		_, _ = io.WriteString(w, `{"endpoint":"http://example.invalid/acs","telemetryEndpoint":"http://example.invalid/"}`)
	}))
	defer plane.Close()
	e, err := NewECS(plane.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	call := func(operation string) (int, string) {
		r, _ := http.NewRequest(http.MethodPost, "http://"+e.Address(), strings.NewReader(`{"a":1}`))
		r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+operation)
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		b, _ := io.ReadAll(reply.Body)
		return reply.StatusCode, string(b)
	}
	want := `{"endpoint":"http://` + e.Address() + `/acs","telemetryEndpoint":"http://` + e.Address() + `/"}`
	if _, body := call("DiscoverPollEndpoint"); body != want {
		t.Errorf("discovered %s, want %s", body, want)
	}
	e.SetAnswer(func(operation string, _ []byte) (int, string) { return 503, "{}" })
	if status, _ := call("SubmitTaskStateChange"); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	if s := e.Submissions("SubmitTaskStateChange"); len(s) != 1 || s[0].Status != 503 || string(s[0].Body) != `{"a":1}` {
		t.Errorf("submissions %+v", s)
	}
	c, _, err := websocket.DefaultDialer.Dial("ws://"+e.Address()+"/acs/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, m, err := c.ReadMessage(); err != nil || string(m) != "hello" {
		t.Errorf("websocket echo %q, %v", m, err)
	}
}

func TestECSFiltersAndInjectsFrames(t *testing.T) {
	up := websocket.Upgrader{}
	plane := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			_, m, err := c.ReadMessage()
			if err != nil || c.WriteMessage(websocket.TextMessage, m) != nil {
				return
			}
		}
	}))
	defer plane.Close()
	e, err := NewECS(plane.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+e.Address()+"/acs/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e.SetFilter(func(d Direction, _ string, frame []byte) [][]byte {
		if d == ToAgent && string(frame) == "drop" {
			return nil
		}
		if d == ToAgent && string(frame) == "double" {
			return [][]byte{frame, frame}
		}
		return [][]byte{frame}
	})
	for _, m := range []string{"drop", "double", "one"} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"double", "double", "one"} {
		if _, m, err := c.ReadMessage(); err != nil || string(m) != want {
			t.Fatalf("got %q, %v; want %q", m, err, want)
		}
	}
	if n := e.Inject("/acs/", websocket.TextMessage, []byte("raw")); n != 1 {
		t.Fatalf("injected into %d sockets, want 1", n)
	}
	if _, m, err := c.ReadMessage(); err != nil || string(m) != "raw" {
		t.Fatalf("got %q, %v; want the injected frame", m, err)
	}
	if n := e.CloseSockets("/acs/", 4000, "bye"); n != 1 {
		t.Fatalf("closed %d sockets, want 1", n)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4000) {
		t.Fatalf("got %v, want close code 4000", err)
	}
}
