package cli_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ecsagent/controlplane/agentlink/linktest"
)

const two = `{"family": "two", "containerDefinitions": [
  {"name": "a", "image": "i", "memory": 64, "essential": true},
  {"name": "bb", "image": "i", "memory": 64, "essential": false}]}`

// chunk is a piece of output as Docker frames it; stream 1 is stdout, 2 is stderr.
func chunk(stream byte, text string) string {
	head := make([]byte, 8)
	head[0] = stream
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return string(head) + text
}

// engine answers as far as logs asks.
func engine(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		_, path, _ := strings.Cut(r.URL.Path, "/containers/")
		switch path {
		case "":
			w.WriteHeader(http.StatusOK)
		case "rt-a/json", "rt-b/json":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"Id":"x","Config":{"Tty":`+map[bool]string{true: "true", false: "false"}[path == "rt-b/json"]+`}}`)
		case "rt-a/logs":
			_, _ = io.WriteString(w, chunk(1, "one\ntwo")+chunk(2, "bad\n")+chunk(1, " more\n")+chunk(1, r.URL.Query().Get("tail")))
		case "rt-b/logs":
			_, _ = io.WriteString(w, "terminal\n")
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"No such container"}`)
		}
	}))
	t.Cleanup(srv.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+strings.TrimPrefix(srv.URL, "http://"))
	return srv
}

func TestLogs(t *testing.T) {
	engine(t)
	b := newBench(t, &linktest.Script{RuntimeID: map[string]string{"a": "rt-a", "bb": "rt-b"}})
	b.run(0, "run", file(t, two))
	id := b.tasks()[0].TaskARN
	r := b.run(0, "logs", id, "a", "--tail", "5")
	if r.out != "one\ntwo more\n5\n" || r.err != "bad\n" {
		t.Fatalf("got %q and %q", r.out, r.err)
	}
	r = b.run(0, "logs", id)
	for _, want := range []string{"a | one\n", "a | two more\n", "bb | terminal\n"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in %q", want, r.out)
		}
	}
	b.matches(b.run(1, "logs", id, "c").err, `has no container "c": it has a, bb`)
}

func TestLogsOfARemovedContainer(t *testing.T) {
	engine(t)
	b := newBench(t, &linktest.Script{})
	b.run(0, "run", file(t, web))
	b.matches(b.run(1, "logs", b.tasks()[0].TaskARN, "app").err, `find container app .*No such container\n.*Set DOCKER_HOST`)
}
