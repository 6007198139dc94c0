package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/endpoint/gate"
	"ecsagent/agent/task"
)

// Places finds where the faults of a task take effect.
type Places interface {
	Place(ctx context.Context, s *task.Snapshot) (Place, error)
}

// ErrNoDefaultInterface says that a host's default interface could not be looked up.
var ErrNoDefaultInterface = errors.New("failed to resolve default host network interface")

// Limits of requests.
const (
	deadline  = 5 * time.Second // of all commands of a request
	bodyLimit = 256 << 10
)

// rate is that of each operation of each caller.
var rate = gate.Rate{Steady: 0.2, Burst: 1}

// Options configure a Handler.
type Options struct {
	Directory *directory.Directory
	Places    Places
	Runner    Runner
	Bound     bool   // ids are good only for their own tasks
	File      string // remembers what was made; empty: nothing is remembered
	Log       *zap.Logger
	Now       func() time.Time // nil is time.Now
}

// Handler answers /api/<endpoint id>/fault/v1/<fault>/<operation>, and takes faults away
// when their tasks end.
type Handler struct {
	o       Options
	fx      effects
	limiter *gate.Limiter
	memory  *memory

	mu    sync.Mutex
	locks map[string]*semaphore.Weighted // by place
	ended map[string]bool                // tasks that ended and are not seen to yet
	wake  chan struct{}
}

// New makes a handler. Run takes away what the last run left.
func New(o Options) *Handler {
	h := &Handler{
		o: o, limiter: gate.NewLimiter(rate, o.Now), memory: openMemory(o.File, o.Log),
		locks: make(map[string]*semaphore.Weighted), ended: make(map[string]bool), wake: make(chan struct{}, 1),
	}
	h.fx = effects{run: o.Runner, warn: func(text string, err error) { o.Log.Warn(text, zap.Error(err)) }}
	return h
}

// operation is what is asked for: the last part of the path.
type operation string

const (
	opStart  operation = "start"
	opStop   operation = "stop"
	opStatus operation = "status"
)

type success struct{ Status string }

type refusal struct{ Error string }

// problem is an answer other than success.
type problem struct {
	status int
	text   string
}

// route finds what a path asks for.
func route(path string) (id string, kind Kind, op operation, ok bool) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(path, "/api/"), "/")
	rest, ok = strings.CutPrefix(rest, "fault/v1/")
	name, last, _ := strings.Cut(rest, "/")
	kind, op = Kind(name), operation(last)
	known := kind == Blackhole || kind == Latency || kind == Loss
	return id, kind, op, ok && known && (op == opStart || op == opStop || op == opStatus)
}

// rateLimit is the second limit's rate in its header.
var rateLimit = []string{"0.20"}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, kind, op, ok := route(r.URL.Path)
	if !ok {
		gate.NotFound(w)
		return
	}
	if r.Method != http.MethodPost {
		gate.WrongMethod(w)
		return
	}
	gate.RateHeaders(w.Header(), r, rateLimit)
	if !h.limiter.Allow(gate.Peer(r), r.URL.Path) {
		gate.TooMany(w, "You have reached maximum request limit")
		return
	}
	spec := Spec{Kind: kind}
	if op == opStart || kind == Blackhole {
		var err error
		if spec, err = parse(kind, http.MaxBytesReader(w, r.Body, bodyLimit)); err != nil {
			gate.Encode(w, http.StatusBadRequest, refusal{err.Error()})
			return
		}
	}
	s, p := h.find(r, id)
	var place Place
	if p == nil {
		place, p = h.place(r.Context(), s, id)
	}
	if p != nil {
		gate.Encode(w, p.status, refusal{p.text})
		return
	}
	status, p := h.perform(r.Context(), s.ARN, &place, &spec, op)
	if p != nil {
		gate.Encode(w, p.status, refusal{p.text})
		return
	}
	gate.Encode(w, http.StatusOK, success{status})
}

// find returns the task that may be disturbed.
func (h *Handler) find(r *http.Request, id string) (*task.Snapshot, *problem) {
	m := h.o.Directory.Endpoint(id)
	if m == nil || h.o.Bound && h.o.Directory.Foreign(r.Context(), r.RemoteAddr, m.Task.ARN) != nil {
		return nil, &problem{http.StatusNotFound, "unable to get task arn from request: unable to get task Arn from v3 endpoint ID: " + id}
	}
	s := m.Task.Snapshot()
	if !s.EnableFaultInjection {
		return nil, &problem{http.StatusBadRequest, "enableFaultInjection is not enabled for task: " + s.ARN}
	}
	return s, nil
}

// place finds where the task's network is; only tasks of the modes host and awsvpc can
// be disturbed.
func (h *Handler) place(ctx context.Context, s *task.Snapshot, id string) (Place, *problem) {
	if s.NetworkMode != "host" && s.NetworkMode != "awsvpc" {
		return Place{}, &problem{http.StatusBadRequest, s.NetworkMode + " mode is not supported. Please use either host or awsvpc mode."}
	}
	place, err := h.o.Places.Place(ctx, s)
	switch {
	case errors.Is(err, ErrNoDefaultInterface):
		return place, &problem{http.StatusInternalServerError, ErrNoDefaultInterface.Error()}
	case err != nil || len(place.Devices) == 0:
		h.o.Log.Warn("network of task not found", zap.String("task", s.ARN), zap.Error(err))
		return place, &problem{http.StatusInternalServerError, "failed to get task metadata due to internal server error for container: " + id}
	}
	return place, nil
}

// perform does the operation while nobody else changes the same network.
func (h *Handler) perform(ctx context.Context, arn string, place *Place, s *Spec, op operation) (string, *problem) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	status, p, err := h.exclusively(ctx, place, op != opStatus, func() (string, *problem, error) {
		switch op {
		case opStart:
			return h.start(ctx, arn, place, s)
		case opStop:
			return h.stop(ctx, arn, place, s)
		default:
			kind, err := h.fx.running(ctx, place, s)
			if kind == s.Kind {
				return "running", nil, err
			}
			return "not-running", nil, err
		}
	})
	if err == nil {
		return status, p
	}
	h.o.Log.Warn("fault operation failed", zap.String("task", arn), zap.String("fault", string(s.Kind)), zap.String("operation", string(op)), zap.Error(err))
	if ctx.Err() != nil {
		name := string(op)
		if op == opStatus {
			name = "check status"
		}
		return "", &problem{http.StatusInternalServerError, fmt.Sprintf("%s %s: request timed out", name, s.Kind.label())}
	}
	return "", &problem{http.StatusInternalServerError, "internal error"}
}

func (h *Handler) start(ctx context.Context, arn string, place *Place, s *Spec) (string, *problem, error) {
	kind, err := h.fx.running(ctx, place, s)
	if err != nil {
		return "", nil, err
	}
	if kind != "" {
		if s.Kind == Blackhole {
			return "running", nil, nil
		}
		return "", &problem{http.StatusConflict, "There is already one " + kind.label() + " fault running"}, nil
	}
	// Remembered before it is made: a fault that nobody remembers stays.
	h.memory.add(arn, place, s)
	if err := h.fx.start(ctx, place, s); err != nil {
		h.memory.drop(arn, place, s)
		return "", nil, err
	}
	h.o.Log.Info("fault started", zap.String("task", arn), zap.String("fault", string(s.Kind)))
	return "running", nil, nil
}

func (h *Handler) stop(ctx context.Context, arn string, place *Place, s *Spec) (string, *problem, error) {
	if err := h.fx.stop(ctx, place, s); err != nil {
		return "", nil, err
	}
	h.memory.drop(arn, place, s)
	h.o.Log.Info("fault stopped", zap.String("task", arn), zap.String("fault", string(s.Kind)))
	return "stopped", nil, nil
}

// maxReaders is how many look at a place at once; whoever changes it takes all places.
const maxReaders = 64

func (h *Handler) exclusively(ctx context.Context, place *Place, alone bool, fn func() (string, *problem, error)) (string, *problem, error) {
	h.mu.Lock()
	lock := h.locks[place.key()]
	if lock == nil {
		lock = semaphore.NewWeighted(maxReaders)
		h.locks[place.key()] = lock
	}
	h.mu.Unlock()
	n := int64(1)
	if alone {
		n = maxReaders
	}
	if err := lock.Acquire(ctx, n); err != nil {
		return "", nil, err
	}
	defer lock.Release(n)
	return fn()
}
