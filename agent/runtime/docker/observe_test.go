package docker

import (
	"net/http"
	"slices"
	"testing"
)

func TestOperation(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{"POST", "/v1.41/containers/create", "container_create"},
		{"GET", "/v1.41/containers/json", "container_list"},
		{"GET", "/v1.41/containers/abc/json", "container_inspect"},
		{"POST", "/v1.41/containers/abc/start", "container_start"},
		{"POST", "/v1.41/containers/abc/anything", "other"},
		{"DELETE", "/v1.41/containers/abc", "container_remove"},
		{"POST", "/v1.41/images/create", "image_pull"},
		{"GET", "/v1.41/images/json", "image_list"},
		{"GET", "/v1.41/images/host:5000/team/web:1/json", "image_inspect"},
		{"POST", "/v1.41/images/host:5000/team/web:1/tag", "image_tag"},
		{"DELETE", "/v1.41/images/team/web", "image_remove"},
		{"GET", "/v1.41/distribution/team/web/json", "manifest"},
		{"POST", "/v1.41/volumes/create", "volume_create"},
		{"GET", "/v1.41/volumes", "volume_list"},
		{"GET", "/v1.41/volumes/data", "volume_inspect"},
		{"DELETE", "/v1.41/volumes/data", "volume_remove"},
		{"GET", "/v1.41/events", "events"},
		{"HEAD", "/_ping", "ping"},
		{"GET", "/version", "version"},
		{"GET", "/v1.41/info", "info"},
		{"GET", "/v1.41/swarm", "other"},
		{"GET", "/", "other"},
		{"GET", "", "other"},
		{"GET", "/volumes/v1", "volume_inspect"},
	} {
		if got := Operation(c.method, c.path); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

// Whatever is asked, the number of operations is bounded.
func FuzzOperation(f *testing.F) {
	f.Add(http.MethodGet, "/v1.41/containers/abc/json")
	known := Operations()
	f.Fuzz(func(t *testing.T, method, path string) {
		if got := Operation(method, path); !slices.Contains(known, got) {
			t.Errorf("%q %q: %q", method, path, got)
		}
	})
}
