package volumeplugin

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// served is a plugin that runs, and how Docker asks it.
type served struct {
	t      *testing.T
	client *http.Client
	table  *table
	stop   context.CancelFunc
	ended  chan struct{}
	failed error // once ended
	opts   Options
}

func serve(t *testing.T, o Options) *served {
	t.Helper()
	s := &served{t: t, table: newTable(), ended: make(chan struct{}), opts: o}
	s.opts.Log = zap.NewNop()
	if s.opts.Mounter == nil {
		s.opts.Mounter = s.table
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() {
		defer close(s.ended)
		s.failed = Run(ctx, s.opts)
	}()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.opts.Socket)
	}}
	s.client = &http.Client{Transport: transport, Timeout: time.Minute}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.end()
	})
	await(t, "the plugin listens", func() bool {
		conn, err := net.Dial("unix", s.opts.Socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return s
}

func (s *served) end() {
	s.t.Helper()
	s.client.CloseIdleConnections()
	s.stop()
	if <-s.ended; s.failed != nil {
		s.t.Error(s.failed)
	}
}

func (s *served) ask(path, body string) (code int, answer string) {
	s.t.Helper()
	resp, err := s.client.Post("http://plugin/"+path, "application/json", strings.NewReader(body))
	must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(s.t, err)
	if kind := resp.Header.Get("Content-Type"); kind != mediaType && resp.StatusCode != http.StatusBadRequest {
		s.t.Errorf("%s: media type %q", path, kind)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func options(t *testing.T) Options {
	dir, err := os.MkdirTemp("", "plugin") // short enough for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Options{Socket: filepath.Join(dir, "s", "p.sock"), State: filepath.Join(dir, "state.json"), Folder: filepath.Join(dir, "v")}
}

func TestProtocol(t *testing.T) {
	o := options(t)
	s := serve(t, o)
	path := filepath.Join(o.Folder, "v")
	for _, c := range []struct {
		ask, body string
		code      int
		want      string
	}{
		{"Plugin.Activate", "", 200, `{"Implements":["VolumeDriver"]}`},
		{"VolumeDriver.Capabilities", "{}", 200, `{"Capabilities":{"Scope":"local"}}`},
		{"VolumeDriver.List", "{}", 200, `{"Volumes":[]}`},
		{"VolumeDriver.Create", `{"Name":"v","Opts":{"type":"efs","device":"fs-1"}}`, 200, `{}`},
		{"VolumeDriver.Create", `{"Name":"w","Opts":{"type":"nfs","device":"fs-1"}}`, 500, `{"Err":"create volume \"w\": option type is \"nfs\": want efs or s3files"}`},
		{"VolumeDriver.Create", `{"Name":"../w","Opts":{"device":"fs-1"}}`, 500, `{"Err":"create volume \"../w\": volume name is \"../w\": want letters, digits, _, . and -, a letter or digit first"}`},
		{"VolumeDriver.List", "", 200, `{"Volumes":[{"Name":"v"}]}`},
		{"VolumeDriver.Path", `{"Name":"v"}`, 200, `{"Mountpoint":"` + path + `"}`},
		{"VolumeDriver.Mount", `{"Name":"v"}`, 500, `{"Err":"mount volume \"v\": ID is empty: want the id of the mount"}`},
		{"VolumeDriver.Mount", `{"Name":"v","ID":"a"}`, 200, `{"Mountpoint":"` + path + `"}`},
		{"VolumeDriver.Unmount", `{"Name":"v","ID":"b"}`, 200, `{}`},
		{"VolumeDriver.Unmount", `{"Name":"v","ID":"a"}`, 200, `{}`},
		{"VolumeDriver.Mount", `{"Name":"x","ID":"a"}`, 500, `{"Err":"volume \"x\" does not exist"}`},
		{"VolumeDriver.Get", `{"Name":"x"}`, 500, `{"Err":"volume \"x\" does not exist"}`},
		{"VolumeDriver.Path", `{"Name":"x"}`, 500, `{"Err":"volume \"x\" does not exist"}`},
		{"VolumeDriver.Remove", `{"Name":"x"}`, 500, `{"Err":"volume \"x\" does not exist"}`},
		{"VolumeDriver.Mount", "", 500, `{"Err":"the request names no volume: Docker repeats requests so when the volume plugin was restarted; do it again"}`},
		{"VolumeDriver.Mount", `{"Name":`, 400, `decode request: unexpected EOF`},
		{"VolumeDriver.Mount", `[]`, 400, ""},
		{"VolumeDriver.Mount", `{"Name":"` + strings.Repeat("x", maxRequest) + `"}`, 400, ""},
	} {
		code, got := s.ask(c.ask, c.body)
		if code != c.code || c.want != "" && got != c.want {
			t.Errorf("%s %.100s: %d %.200s, want %d %s", c.ask, c.body, code, got, c.code, c.want)
		}
	}
	code, got := s.ask("VolumeDriver.Get", `{"Name":"v"}`)
	if before, after, _ := strings.Cut(got, `"CreatedAt":"`); code != 200 || before != `{"Volume":{"Name":"v","Mountpoint":"`+path+`",` {
		t.Errorf("described as %s", got)
	} else if _, err := time.Parse(time.RFC3339, strings.TrimSuffix(after, `"}}`)); err != nil {
		t.Error(err)
	}
	if code, got := s.ask("VolumeDriver.Remove", `{"Name":"v"}`); code != 200 || got != "{}" {
		t.Errorf("removed: %d %s", code, got)
	}
	resp, err := s.client.Get("http://plugin/VolumeDriver.List")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", resp.Status)
	}
}

// One plugin has the volumes, and the socket of one that is gone is taken over.
func TestOnlyOne(t *testing.T) {
	o := options(t)
	s := serve(t, o)
	if info, err := os.Stat(o.Socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	second := o
	second.Log, second.Socket = zap.NewNop(), o.Socket+"2"
	wants(t, Run(t.Context(), second), "another volume plugin has the volumes of "+o.Folder)
	third := options(t)
	third.Socket, third.Log = o.Socket, zap.NewNop()
	wants(t, Run(t.Context(), third), "somebody listens on "+o.Socket+" already")
	s.end()
	if _, err := os.Stat(o.Socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	// One that was killed leaves its socket.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.Socket, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	l.Close()
	serve(t, o).end()
	must(t, os.WriteFile(o.Socket, nil, 0o600))
	o.Log = zap.NewNop()
	wants(t, Run(t.Context(), o), o.Socket+" is no socket: move it away")
	must(t, os.WriteFile(o.State, []byte("{"), 0o600))
	wants(t, Run(t.Context(), o), "read the plugin's state")
}

// What is under way when the plugin is told to end is finished.
func TestEndFinishes(t *testing.T) {
	o := options(t)
	s := serve(t, o)
	if code, got := s.ask("VolumeDriver.Create", `{"Name":"v","Opts":{"device":"fs-1"}}`); code != 200 {
		t.Fatal(got)
	}
	free := make(chan struct{})
	s.table.waits["fs-1"] = free
	answered := make(chan string, 1)
	go func() {
		resp, err := s.client.Post("http://plugin/VolumeDriver.Mount", "", bytes.NewReader([]byte(`{"Name":"v","ID":"a"}`)))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answered <- resp.Status + string(text)
	}()
	await(t, "the helper runs", func() bool {
		s.table.mu.Lock()
		defer s.table.mu.Unlock()
		return s.table.helpers == 1
	})
	s.stop()
	close(free)
	if got := <-answered; !strings.HasPrefix(got, "200") {
		t.Error(got)
	}
	s.end()
	volumes, err := stateFile(o.State).load()
	must(t, err)
	if got := counts(volumes); got != "v(a:1)" {
		t.Errorf("saved %q", got)
	}
}
