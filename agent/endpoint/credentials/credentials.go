package credentials

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/endpoint/audit"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/endpoint/gate"
	"ecsagent/agent/task"
)

// Audit is the audit log.
type Audit interface {
	Record(r *http.Request, status int, taskARN string, event audit.Event)
}

// DefaultHold is how long a request waits for credentials that are on their way. It is
// shorter than the server's own limit, and SDKs try again after it.
const DefaultHold = 3 * time.Second

// Options configure a Handler.
type Options struct {
	Store     *credentials.Store
	Directory *directory.Directory
	Audit     Audit
	// Bound makes ids good only for the tasks that they belong to
	// (ECS_BIND_CREDENTIALS_TO_TASK).
	Bound  bool
	Hold   time.Duration    // default DefaultHold
	Served func(status int) // told of every answer; may be nil
	Log    *zap.Logger
}

// Handler serves credentials.
type Handler struct{ o Options }

// New makes a handler.
func New(o Options) *Handler {
	if o.Hold <= 0 {
		o.Hold = DefaultHold
	}
	if o.Served == nil {
		o.Served = func(int) {}
	}
	return &Handler{o: o}
}

// failure is an error on the wire. HTTPErrorCode is part of what clients see.
type failure struct {
	Code          string `json:"code"`
	Message       string `json:"message"`
	HTTPErrorCode int
}

const v2Prefix = "/v2/credentials/"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version := 2
	id, ok := strings.CutPrefix(r.URL.Path, v2Prefix)
	if !ok {
		version, id = 1, r.URL.Query().Get("id")
	}
	if id == "" {
		h.fail(w, r, http.StatusBadRequest, "", audit.Unknown, failure{Code: "NoIdInRequest", Message: "No Credential ID in the request"}, version)
		return
	}
	set, ok := h.o.Store.Get(id)
	if !ok {
		holder := h.o.Directory.Role(id)
		if holder == nil || holder.Task.Snapshot().State.Known == task.Stopped {
			h.invalid(w, r, "", audit.Unknown, version)
			return
		}
		if h.foreign(r, holder.Task.ARN, holder.Role) {
			h.invalid(w, r, holder.Task.ARN, audit.Refused, version)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), h.o.Hold)
		defer cancel()
		if set, ok = h.o.Store.Await(ctx, id); !ok {
			// Known, and on the way again: SDKs come back after a 5xx, not after a 4xx.
			w.Header()["Retry-After"] = []string{"1"}
			h.fail(w, r, http.StatusServiceUnavailable, "", audit.Unknown,
				failure{Code: "CredentialsUninitialized", Message: "Credentials uninitialized for ID"}, version)
			return
		}
	}
	if h.foreign(r, set.TaskARN, set.Role) {
		h.invalid(w, r, set.TaskARN, audit.Refused, version)
		return
	}
	h.serve(w, r, &set)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, set *credentials.Set) {
	event := audit.GetTaskRole
	if set.Role == credentials.Execution {
		event = audit.GetExecution
	}
	h.o.Audit.Record(r, http.StatusOK, set.TaskARN, event)
	h.o.Served(http.StatusOK)
	gate.JSON(w, http.StatusOK, encode(set))
}

func (h *Handler) invalid(w http.ResponseWriter, r *http.Request, taskARN string, event audit.Event, version int) {
	h.fail(w, r, http.StatusBadRequest, taskARN, event, failure{Code: "InvalidIdInRequest", Message: "Credentials not found"}, version)
}

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, status int, taskARN string, event audit.Event, f failure, version int) {
	f.Message = fmt.Sprintf("CredentialsV%dRequest: %s", version, f.Message)
	f.HTTPErrorCode = status
	h.o.Audit.Record(r, status, taskARN, event)
	h.o.Served(status)
	gate.Encode(w, status, f)
}

// foreign reports whether the request comes from a task that the credentials are not
// for. Those of an execution role are for the agent and the Docker daemon, and no
// task's.
func (h *Handler) foreign(r *http.Request, ownerARN string, role credentials.Role) bool {
	if !h.o.Bound {
		return false
	}
	caller := h.o.Directory.Foreign(r.Context(), r.RemoteAddr, ownerARN)
	if caller == nil && role == credentials.Execution {
		caller = h.o.Directory.Caller(r.RemoteAddr)
	}
	if caller == nil {
		return false
	}
	h.o.Log.Warn("credentials refused: a task asks that they are not for", zap.String("task", ownerARN), zap.String("caller", caller.ARN),
		zap.String("role", string(role)), zap.String("remote", r.RemoteAddr))
	return true
}
