package docker

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// TestNamedPipe: the engine of Windows listens on a named pipe, and several calls talk to it
// at a time.
func TestNamedPipe(t *testing.T) {
	f := newFake(t)
	f.handle("GET /info", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"DockerRootDir":"C:\\ProgramData\\docker"}`))
	})
	name := `\\.\pipe\ecs-agent-test-` + strconv.Itoa(os.Getpid())
	servePipe(t, name, f)
	f.host = "npipe:////./pipe/" + name[len(`\\.\pipe\`):]
	c := f.connect(t, Timeouts{})
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			info, err := c.Info(t.Context())
			if err != nil || info.DataRoot != `C:\ProgramData\docker` {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
	calls.Wait()
}

// servePipe serves requests on a named pipe until the end of the test. Handles of it are not
// overlapped, so that each is read and written in turns.
func servePipe(t *testing.T, name string, h http.Handler) {
	t.Helper()
	pipe, err := windows.UTF16PtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	instance := func() windows.Handle {
		handle, err := windows.CreateNamedPipe(pipe, windows.PIPE_ACCESS_DUPLEX, windows.PIPE_TYPE_BYTE|windows.PIPE_WAIT,
			windows.PIPE_UNLIMITED_INSTANCES, 64<<10, 64<<10, 0, nil)
		if err != nil {
			t.Error("make a pipe: ", err)
		}
		return handle
	}
	var ended atomic.Bool
	var serving sync.WaitGroup
	next := instance() // there before anybody dials
	serving.Go(func() {
		for !ended.Load() && next != windows.InvalidHandle {
			if err := windows.ConnectNamedPipe(next, nil); err != nil && err != windows.ERROR_PIPE_CONNECTED { //nolint:errorlint // a number
				t.Error("await a client: ", err)
				break
			}
			conn := os.NewFile(uintptr(next), name)
			serving.Go(func() { answerAll(conn, h) })
			next = instance()
		}
		_ = windows.CloseHandle(next)
	})
	t.Cleanup(func() {
		ended.Store(true)
		if last, err := winio.DialPipe(name, nil); err == nil { // it waits for one more
			_ = last.Close()
		}
		serving.Wait()
	})
}

// answerAll answers the requests of one client until it goes.
func answerAll(conn *os.File, h http.Handler) {
	defer func() { _ = conn.Close() }()
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		answer := w.Result()
		answer.ContentLength = int64(w.Body.Len())
		if answer.Write(conn) != nil {
			return
		}
	}
}
