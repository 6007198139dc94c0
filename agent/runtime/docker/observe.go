package docker

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Observer hears of calls to the engine: which operation, one of Operations, how long
// its answer took to begin, and whether there was none or one of status 500 or more.
type Observer func(operation string, took time.Duration, failed bool)

// timed notes when calls that pass through a transport were answered, and tells an
// observer of them.
type timed struct {
	next     http.RoundTripper
	answered *atomic.Int64 // Unix nanoseconds
	tell     Observer      // may be nil
}

// RoundTrip implements http.RoundTripper.
func (t timed) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	response, err := t.next.RoundTrip(r)
	failed := err != nil || response.StatusCode >= http.StatusInternalServerError
	if !failed {
		t.answered.Store(time.Now().UnixNano())
	}
	if t.tell != nil {
		t.tell(Operation(r.Method, r.URL.Path), time.Since(start), failed)
	}
	return response, err
}

// other is what Operation calls a call that it does not know.
const other = "other"

// verbs are the last parts of paths below a container, and what they are called.
var verbs = []string{"start", "stop", "kill", "wait", "restart", "logs", "stats", "top", "update", "rename", "exec", "archive"}

// Operations lists what Operation may return.
func Operations() []string {
	names := []string{
		"container_create", "container_list", "container_inspect", "container_remove",
		"image_list", "image_pull", "image_load", "image_inspect", "image_tag", "image_remove", "manifest",
		"volume_create", "volume_list", "volume_inspect", "volume_remove",
		"network", "plugins", "exec", "events", "info", "ping", "version", other,
	}
	for _, v := range verbs {
		names = append(names, "container_"+v)
	}
	return names
}

// Operation names a call by its method and path, without ids and names.
func Operation(method, path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) > 1 && len(parts[0]) > 1 && parts[0][0] == 'v' && parts[0][1] >= '0' && parts[0][1] <= '9' {
		parts = parts[1:] // the API's version
	}
	kind, rest := parts[0], parts[1:]
	last := parts[len(parts)-1]
	switch kind {
	case "containers":
		return containerOperation(method, rest, last)
	case "images":
		return imageOperation(method, rest, last)
	case "volumes":
		switch {
		case method == http.MethodDelete:
			return "volume_remove"
		case method == http.MethodPost:
			return "volume_create"
		case len(rest) == 0:
			return "volume_list"
		}
		return "volume_inspect"
	case "networks":
		return "network"
	case "_ping":
		return "ping"
	case "distribution":
		return "manifest"
	case "plugins", "exec", "events", "info", "version":
		return kind
	}
	return other
}

func containerOperation(method string, rest []string, last string) string {
	switch {
	case len(rest) == 1 && last == "create":
		return "container_create"
	case len(rest) == 1 && last == "json":
		return "container_list"
	case len(rest) == 1 && method == http.MethodDelete:
		return "container_remove"
	case len(rest) == 2 && last == "json":
		return "container_inspect"
	case len(rest) == 2 && slices.Contains(verbs, last):
		return "container_" + last
	}
	return other
}

// imageOperation knows that names of images have slashes.
func imageOperation(method string, rest []string, last string) string {
	switch {
	case method == http.MethodDelete:
		return "image_remove"
	case len(rest) == 1 && last == "json":
		return "image_list"
	case len(rest) == 1 && last == "create":
		return "image_pull"
	case len(rest) == 1 && last == "load":
		return "image_load"
	case len(rest) > 1 && last == "json":
		return "image_inspect"
	case len(rest) > 1 && last == "tag":
		return "image_tag"
	}
	return other
}
