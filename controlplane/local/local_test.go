package local

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ecsagent/controlplane/agentlink/linktest"
	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) (*Server, *client.Client) {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(s.URL(), "us-east-1")
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

func get(t *testing.T, method, url string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestLocalEndpointsAreGuarded(t *testing.T) {
	s, c := start(t, Options{Version: "1.2.3"})
	var status struct{ Version, URL string }
	if err := c.Local(t.Context(), http.MethodGet, "status", &status); err != nil || status.Version != "1.2.3" || status.URL != s.URL() {
		t.Fatalf("status: %+v %v", status, err)
	}
	for _, path := range []string{"status", "events"} {
		if code, _ := get(t, http.MethodGet, s.URL()+"/_local/"+path, nil); code != http.StatusForbidden {
			t.Errorf("%s without the header: HTTP %d", path, code)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/_local/shutdown", nil)
	r.Header.Set(client.LocalHeader, "1")
	r.RemoteAddr = "192.0.2.7:1234"
	s.handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("shutdown from another machine: HTTP %d", w.Code)
	}
	select {
	case <-s.Done():
		t.Error("the server was asked to end")
	default:
	}
	if code, body := get(t, http.MethodGet, s.URL()+"/health", nil); code != 200 || body != "{\"status\":\"ok\"}\n" {
		t.Errorf("health: %d %s", code, body)
	}
}

func TestEvents(t *testing.T) {
	s, c := start(t, Options{})
	events, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	in, err := linktest.StartInstance(t.Context(), s.URL(), linktest.Script{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Stop() }()
	for {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "instance" && e.ARN == in.ARN && e.Instance.AgentConnected {
			break
		}
	}
}

func TestStateIsKept(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(t.Context(), Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(s.URL(), "us-east-1")
	if err := c.Call(t.Context(), "CreateCluster", api.CreateClusterRequest{ClusterName: "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // twice does no harm
		t.Fatal(err)
	}
	_, c = start(t, Options{DataDir: dir})
	var out api.ListClustersResponse
	if err := c.Call(t.Context(), "ListClusters", struct{}{}, &out); err != nil || len(out.ClusterARNs) != 1 {
		t.Fatalf("clusters %v %v", out.ClusterARNs, err)
	}
}

func TestStartFailures(t *testing.T) {
	s, _ := start(t, Options{})
	if _, err := Start(t.Context(), Options{Listen: strings.TrimPrefix(s.URL(), "http://")}); err == nil || !strings.Contains(err.Error(), "listen on") {
		t.Errorf("occupied address: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sequences.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "read sequence numbers") {
		t.Errorf("broken sequence file: %v", err)
	}
}

func TestSequencesRiseOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sequences.json")
	var last int64
	for range 3 {
		s, err := openSequences(path)
		if err != nil {
			t.Fatal(err)
		}
		for range sequenceBlock + 5 {
			n, err := s.Next("a")
			if err != nil || n <= last {
				t.Fatalf("got %d after %d: %v", n, last, err)
			}
			last = n
		}
	}
	s, err := openSequences(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Next("b"); n != 1 || err != nil {
		t.Fatalf("another instance begins with %d: %v", n, err)
	}
	// A number is usable even if it cannot be saved.
	s.path = filepath.Join(path, "not-a-folder", "x")
	if n, err := s.Next("c"); n != 1 || err == nil {
		t.Fatalf("got %d %v, want 1 and an error", n, err)
	}
}

func TestMetadata(t *testing.T) {
	s, _ := start(t, Options{IMDS: true, Region: "eu-west-1", Account: "123456789012"})
	if code, token := get(t, http.MethodPut, s.URL()+"/latest/api/token", nil); code != 200 || token == "" {
		t.Errorf("token: %d %s", code, token)
	}
	_, body := get(t, http.MethodGet, s.URL()+"/latest/dynamic/instance-identity/document", nil)
	var document struct{ Region, AccountID, InstanceID string }
	if err := json.Unmarshal([]byte(body), &document); err != nil || document.Region != "eu-west-1" || document.AccountID != "123456789012" {
		t.Errorf("document %s: %v", body, err)
	}
	for path, want := range map[string]string{
		"meta-data/instance-id": document.InstanceID, "meta-data/placement/region": "eu-west-1",
		"meta-data/network/interfaces/macs/" + metadataMAC + "/vpc-id": "vpc-0ec510ca1", "meta-data/iam/security-credentials/": metadataRole,
	} {
		if code, got := get(t, http.MethodGet, s.URL()+"/latest/"+path, nil); code != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", path, code, got, want)
		}
	}
	_, body = get(t, http.MethodGet, s.URL()+"/latest/meta-data/iam/security-credentials/"+metadataRole, nil)
	var keys struct{ Expiration time.Time }
	if err := json.Unmarshal([]byte(body), &keys); err != nil || time.Until(keys.Expiration) < time.Hour {
		t.Errorf("role document %s: %v", body, err)
	}
	for _, path := range []string{"user-data", "meta-data/spot/instance-action", "meta-data/outpost-arn"} {
		if code, _ := get(t, http.MethodGet, s.URL()+"/latest/"+path, nil); code != 404 {
			t.Errorf("%s: HTTP %d", path, code)
		}
	}
}

func TestShutdownEndpoint(t *testing.T) {
	s, err := Start(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		<-s.Done()
		closed <- s.Close()
	}()
	c := client.New(s.URL(), "us-east-1")
	defer c.Close()
	if err := c.Local(t.Context(), http.MethodPost, "shutdown", nil); err != nil {
		t.Fatal(err)
	}
	// The answer ends only when the server has.
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := c.Local(t.Context(), http.MethodGet, "status", nil); err == nil {
		t.Fatal("the server still answers")
	}
}

// A client that connects ahead of its first request, as proxies and browsers do, must
// not hold up the end.
func TestCloseDoesNotWaitForSilentConnections(t *testing.T) {
	s, _ := start(t, Options{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	get(t, http.MethodGet, s.URL()+"/health", nil) // accepted after the other
	if err := s.Close(); err != nil {
		t.Fatalf("close with a silent connection: %v", err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent connection: %d bytes, error %v; want its end", n, err)
	}
}
