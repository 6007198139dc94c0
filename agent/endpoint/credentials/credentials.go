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
		if !h.allowed(w, r, holder.Task.ARN, holder.Role, version) {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), h.o.Hold)
		defer cancel()
		if set, ok = h.o.Store.Await(ctx, id); !ok {
			h.comeBack(w, r, "", failure{Code: "CredentialsUninitialized", Message: "Credentials uninitialized for ID"}, version)
			return
		}
	}
	if h.allowed(w, r, set.TaskARN, set.Role, version) {
		h.serve(w, r, &set)
	}
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

// comeBack answers what is true for a moment only: SDKs ask again after a 5xx, not after
// a 4xx.
func (h *Handler) comeBack(w http.ResponseWriter, r *http.Request, taskARN string, f failure, version int) {
	w.Header()["Retry-After"] = []string{"1"}
	h.fail(w, r, http.StatusServiceUnavailable, taskARN, audit.Unknown, f, version)
}

// allowed reports whether the credentials are for who asks, and answers the request when
// they are not. Those of an execution role are for the agent and the Docker daemon, and
// no task's.
func (h *Handler) allowed(w http.ResponseWriter, r *http.Request, ownerARN string, role credentials.Role, version int) bool {
	if !h.o.Bound {
		return true
	}
	owner := ownerARN
	if role == credentials.Execution {
		owner = ""
	}
	caller, certain := h.o.Directory.Foreign(r.Context(), r.RemoteAddr, owner)
	switch {
	case caller != nil:
		h.o.Log.Warn("credentials refused: a task asks that they are not for", zap.String("task", ownerARN), zap.String("caller", caller.ARN),
			zap.String("role", string(role)), zap.String("remote", r.RemoteAddr))
		h.invalid(w, r, ownerARN, audit.Refused, version)
	case !certain:
		h.o.Log.Warn("credentials withheld: containers are being started, and it is not known yet which one asks", zap.String("task", ownerARN),
			zap.String("role", string(role)), zap.String("remote", r.RemoteAddr))
		h.comeBack(w, r, ownerARN, failure{Code: "CallerUnknown", Message: "Containers are being started, the caller is not known yet"}, version)
	default:
		return true
	}
	return false
}
