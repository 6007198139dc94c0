package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"ecsagent/controlplane/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with one reply.
func serve(t *testing.T, status int, body string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(LocalHeader) == "" && (r.Header.Get("X-Amz-Target") != targetPrefix+"ListTasks" ||
			r.Header.Get("Content-Type") != contentType || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=")) {
			t.Errorf("headers %v", r.Header)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	c := New(srv.URL+"/", "us-east-1")
	t.Cleanup(func() {
		c.Close()
		srv.Close()
	})
	return c
}

func TestCall(t *testing.T) {
	var out api.ListTasksResponse
	if err := serve(t, 200, `{"taskArns":["a"]}`).Call(t.Context(), "ListTasks", struct{}{}, &out); err != nil || len(out.TaskARNs) != 1 {
		t.Fatalf("got %v %v", out, err)
	}
	for body, want := range map[string]string{
		`{"__type":"com.amazonaws.ecs#ClusterNotFoundException","message":"Cluster not found."}`: "ListTasks: ClusterNotFoundException: Cluster not found.",
		`{"__type":"ClientException","message":"no"}`:                                            "ListTasks: ClientException: no",
		`<html>`: "ListTasks: Bad Request: the answer (HTTP 400) is not that of an ECS endpoint",
	} {
		err := serve(t, 400, body).Call(t.Context(), "ListTasks", struct{}{}, &out)
		var refused *api.Error
		if !errors.As(err, &refused) || err.Error() != want || refused.Status != 400 {
			t.Errorf("%s: got %v", body, err)
		}
	}
	if err := serve(t, 200, `[`).Call(t.Context(), "ListTasks", struct{}{}, &out); err == nil || !strings.Contains(err.Error(), "decode answer of ListTasks") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	c := New("127.0.0.1:1", "us-east-1")
	defer c.Close()
	_, watchErr := c.Watch(t.Context())
	for _, err := range []error{c.Call(t.Context(), "ListTasks", nil, nil), c.Local(t.Context(), "GET", "status", nil), watchErr} {
		var u *Unreachable
		if !errors.As(err, &u) || u.Endpoint != "http://127.0.0.1:1" {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Call(ctx, "ListTasks", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWatch(t *testing.T) {
	events, err := serve(t, 200, "\n{\"kind\":\"task\",\"arn\":\"a\",\"task\":{\"version\":3}}\n\n{\"kind\":\"instance\",\"arn\":\"b\"}\n").Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if e, err := events.Next(); err != nil || e.ARN != "a" || e.Task.Version != 3 {
		t.Fatalf("got %+v %v", e, err)
	}
	if e, err := events.Next(); err != nil || e.Kind != "instance" {
		t.Fatalf("got %+v %v", e, err)
	}
	if _, err := events.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
	if _, err := serve(t, 404, "").Watch(t.Context()); err == nil || !strings.Contains(err.Error(), "is not an ecs-local server") {
		t.Fatalf("got %v", err)
	}
	broken, err := serve(t, 200, "{\n").Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	if _, err := broken.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("got %v", err)
	}
}
