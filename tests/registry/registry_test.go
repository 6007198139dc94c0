package registry

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"

	"ecsagent/tests/image"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client opens a connection per request, so that none is left to be reused.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 500 * time.Millisecond}

func serve(t *testing.T) (*Server, string) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	img, err := image.Build([]image.File{{Path: "/data", Data: []byte(strings.Repeat("x", 4096))}}, v1.Config{Cmd: []string{"/data"}})
	if err != nil {
		t.Fatal(err)
	}
	_, digest, err := s.Push(t.Context(), "some/app:1", img)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("digest %q", digest)
	}
	return s, layer.String()
}

func TestFaults(t *testing.T) {
	s, layer := serve(t)
	manifest, blob := "http://"+s.Host()+"/v2/some/app/manifests/1", "http://"+s.Host()+"/v2/some/app/blobs/"+layer
	tests := map[string]struct {
		fault  Fault
		url    string
		status int
		fails  bool // the request or its body ends with an error
	}{
		"none":                      {Fault{}, manifest, 200, false},
		"unauthorised":              {Fault{Status: 401}, manifest, 401, false},
		"unknown":                   {Fault{Status: 404}, manifest, 404, false},
		"broken":                    {Fault{Status: 500}, manifest, 500, false},
		"stalls":                    {Fault{Stall: true}, manifest, 0, true},
		"manifest fault, blob":      {Fault{Status: 500}, blob, 200, false},
		"blob fault, manifest":      {Fault{Status: 500, Blobs: true}, manifest, 200, false},
		"blob cut":                  {Fault{Blobs: true, Cut: 10}, blob, 200, true},
		"blob too slow for a limit": {Fault{Blobs: true, Rate: 20}, blob, 200, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.Set("some/app", tt.fault)
			status, err := get(tt.url)
			if (err != nil) != tt.fails || status != tt.status {
				t.Errorf("got status %d, error %v; want status %d, an error: %v", status, err, tt.status, tt.fails)
			}
		})
	}
}

func get(url string) (int, error) {
	r, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, err
}

func TestFaultEndsAfterItsTimes(t *testing.T) {
	s, _ := serve(t)
	s.Set("some/app", Fault{Status: 500, Times: 2})
	var got []int
	for range 3 {
		status, err := get("http://" + s.Host() + "/v2/some/app/manifests/1")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	if got[0] != 500 || got[1] != 500 || got[2] != 200 {
		t.Errorf("statuses %v, want 500 500 200", got)
	}
}

func TestKillAndRestart(t *testing.T) {
	s, _ := serve(t)
	url := "http://" + s.Host() + "/v2/some/app/manifests/1"
	s.Kill()
	if _, err := get(url); err == nil {
		t.Fatal("a killed registry answers")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if status, err := get(url); err != nil || status != 200 {
		t.Fatalf("after a restart: status %d, error %v", status, err)
	}
}

func TestSameInputSameDigest(t *testing.T) {
	var digests []string
	for range 2 {
		img, err := image.Busybox(v1.Config{Cmd: []string{"sh"}})
		if err != nil {
			t.Skip(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("digests differ: %v", digests)
	}
}
