package metadata

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/endpoint/gate"
	"ecsagent/agent/task"
)

// Instance is the container instance as tasks see it. It is never changed; Options
// gives another one when something becomes known.
type Instance struct {
	Cluster string // as configured
	ARN     string
	Zone    string // empty with ECS_DISABLE_TASK_METADATA_AZ
	ZoneID  string
	VPC     string
}

// Stats gives the latest usage of a container by its Docker id: what to encode for
// version 4, and for earlier versions, nil without a sample so far. tracked is false
// for a container that is not measured.
type Stats interface {
	Stats(id string) (latest, older any, tracked bool)
}

// Tags looks the tags of a resource up, on behalf of a container.
type Tags interface {
	Tags(ctx context.Context, arn, container string) (map[string]string, error)
}

// Options configure a Handler.
type Options struct {
	Directory *directory.Directory
	Instance  func() *Instance
	Stats     Stats // nil: nothing is measured
	Tags      Tags  // nil: there are no tags
	Bound     bool  // ids are good only for their own tasks
	Log       *zap.Logger
}

// Handler answers /v2/metadata, /v2/stats, /v3 and /v4.
type Handler struct {
	o    Options
	tags *tagCache
}

// New makes a handler.
func New(o Options) *Handler {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Handler{o: o, tags: newTagCache(o.Tags)}
}

// settle is how long a request waits for Docker to show a container that is being
// started, below the server's own limit.
const settle = 2 * time.Second

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Path
	switch {
	case strings.HasPrefix(p, "/v4/"):
		h.byEndpoint(w, r, v4, p[len("/v4/"):])
	case strings.HasPrefix(p, "/v3/"):
		h.byEndpoint(w, r, v3, p[len("/v3/"):])
	case strings.HasPrefix(p, "/v2/"):
		h.byAddress(w, r, p[len("/v2/"):])
	default:
		gate.NotFound(w)
	}
}

// request is one request of version 3 or 4.
type request struct {
	http.ResponseWriter
	*http.Request
	v  version
	id string // endpoint id
}

func (h *Handler) byEndpoint(w http.ResponseWriter, r *http.Request, v version, rest string) {
	id, what, more := strings.Cut(rest, "/")
	q := &request{w, r, v, id}
	kind, name, _ := strings.Cut(what, "/")
	switch {
	case !more:
		h.container(q)
	case what == "task":
		h.task(q)
	case what == "taskWithTags":
		h.taskWithTags(q)
	case what == "stats":
		h.stats(q)
	case what == "task/stats":
		h.taskStats(q)
	case kind == "associations" && what != kind:
		h.associations(q, name)
	default:
		gate.NotFound(w)
	}
}

// find returns the container that the request names, and the picture of its task once
// Docker has shown the container if that is about to happen; nil when there is none, or
// when it is not the caller's to ask about.
func (h *Handler) find(q *request) (*directory.Member, *task.Snapshot) {
	m := h.o.Directory.Endpoint(q.id)
	if m == nil {
		return nil, nil
	}
	if h.o.Bound {
		if caller := h.o.Directory.Foreign(q.Context(), q.RemoteAddr, m.Task.ARN); caller != nil {
			h.o.Log.Warn("metadata refused: another task asks", zap.String("task", m.Task.ARN), zap.String("caller", caller.ARN),
				zap.String("remote", q.RemoteAddr))
			return nil, nil
		}
	}
	s := m.Task.Snapshot()
	if m.Index >= len(s.State.Containers) {
		return nil, nil
	}
	if directory.Starting(&s.State.Containers[m.Index]) {
		ctx, cancel := context.WithTimeout(q.Context(), settle)
		defer cancel()
		s = m.Task.Await(ctx, func(s *task.Snapshot) bool { return !directory.Starting(&s.State.Containers[m.Index]) })
	}
	return m, s
}

// unknown answers that there is no such endpoint id: with 404 in version 4.
func (q *request) unknown(older int, handler, what string) {
	status := older
	if q.v == v4 {
		status = http.StatusNotFound
	}
	q.fail(status, fmt.Sprintf("V%d %s handler: unable to get %s from request: %s", q.v, handler, what, unresolved(what, q.id)))
}

func unresolved(what, id string) string {
	if what == "task arn" {
		return "unable to get task Arn from v3 endpoint ID: " + id
	}
	return "unable to get docker ID from v3 endpoint ID: " + id
}

func (q *request) fail(status int, text string) { gate.Encode(q.ResponseWriter, status, text) }

func (h *Handler) container(q *request) {
	m, s := h.find(q)
	if m == nil {
		q.unknown(http.StatusInternalServerError, "container metadata", "container ID")
		return
	}
	body, err := h.encoded(m.Task, s, q.v, m.Index)
	q.answer(body, err, "failed to get container metadata")
}

func (h *Handler) task(q *request) {
	m, s := h.find(q)
	if m == nil {
		q.unknown(http.StatusInternalServerError, "task metadata", "task arn")
		return
	}
	body, err := h.encoded(m.Task, s, q.v, wholeTask)
	q.answer(body, err, "failed to get task metadata")
}

func (q *request) answer(body []byte, err error, failure string) {
	if err != nil {
		q.fail(http.StatusInternalServerError, failure)
		return
	}
	gate.JSON(q.ResponseWriter, http.StatusOK, body)
}

func (h *Handler) taskWithTags(q *request) {
	m, s := h.find(q)
	if m == nil {
		q.unknown(http.StatusInternalServerError, "task metadata", "task arn")
		return
	}
	name := ""
	if q.v == v4 {
		name = s.Containers[m.Index].Name
	}
	gate.Encode(q.ResponseWriter, http.StatusOK, h.tagged(q.Context(), s, q.v, name))
}

// byAddress answers version 2, whose callers are known by their address: tasks with an
// interface of their own.
func (h *Handler) byAddress(w http.ResponseWriter, r *http.Request, rest string) {
	family, id, _ := strings.Cut(rest, "/")
	known := family == "metadata" || family == "stats" || family == "metadataWithTags" && id == ""
	if !known {
		gate.NotFound(w)
		return
	}
	fail := func(format string, args ...any) { gate.Encode(w, http.StatusBadRequest, fmt.Sprintf(format, args...)) }
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		fail("Unable to get task arn from request: unable to parse request's ip address: %v", err)
		return
	}
	t := h.o.Directory.At(from.Addr())
	if t == nil || len(t.Snapshot().ENIs) == 0 {
		fail("Unable to get task arn from request: unable to associate '%s' with task", from.Addr().Unmap())
		return
	}
	s := t.Snapshot()
	index := wholeTask
	if id != "" {
		if index = indexOf(s, id); index < 0 {
			if family == "stats" {
				fail("Unable to get container stats for: %s", id)
			} else {
				fail("Unable to generate metadata for container '%s'", id)
			}
			return
		}
	}
	switch {
	case family == "metadataWithTags":
		gate.Encode(w, http.StatusOK, h.tagged(r.Context(), s, v2, ""))
	case family == "metadata":
		body, err := h.encoded(t, s, v2, index)
		(&request{w, r, v2, ""}).answer(body, err, "failed to get metadata")
	case index == wholeTask:
		gate.Encode(w, http.StatusOK, h.statsOf(s, v2))
	default:
		body, ok := h.statsOfContainer(s, index, v2)
		if !ok {
			fail("Unable to get container stats for: %s", id)
			return
		}
		gate.Encode(w, http.StatusOK, body)
	}
}

// indexOf finds a container of the task by its Docker id; -1 when it has none such.
func indexOf(s *task.Snapshot, id string) int {
	for i := range s.State.Containers {
		if s.State.Containers[i].RuntimeID == id {
			return i
		}
	}
	return -1
}
