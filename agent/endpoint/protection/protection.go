package protection

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/credentials"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/endpoint/gate"
)

// API is ECS as a task calls it.
type API interface {
	GetTaskProtection(ctx context.Context, in *ecsapi.GetTaskProtectionInput) (*ecsapi.GetTaskProtectionOutput, error)
	UpdateTaskProtection(ctx context.Context, in *ecsapi.UpdateTaskProtectionInput) (*ecsapi.UpdateTaskProtectionOutput, error)
}

// Limits of a request.
const (
	callLimit = 4 * time.Second // attempts included; below the server's own limit
	bodyLimit = 64 << 10
)

// Options configure a Handler.
type Options struct {
	Directory *directory.Directory
	Roles     *credentials.Store
	// API makes a client that signs with a set of credentials.
	API     func(credentials.Set) API
	Cluster func() string
	Bound   bool // ids are good only for their own tasks
	Log     *zap.Logger
}

// Handler answers /api/<endpoint id>/task-protection/v1/state.
type Handler struct{ o Options }

// New makes a handler.
func New(o Options) *Handler { return &Handler{o} }

// answer is the body of every response; keys that do not apply are left out.
type answer struct {
	RequestID  string      `json:"requestID,omitempty"`
	Protection *protection `json:"protection,omitempty"`
	Failure    *failure    `json:"failure,omitempty"`
	Error      *fault      `json:"error,omitempty"`
}

type protection struct {
	ExpirationDate    *time.Time
	ProtectionEnabled bool
	TaskArn           string //nolint:revive // the wire's name
}

type failure struct{ Arn, Detail, Reason *string }

type fault struct {
	Arn     string `json:",omitempty"`
	Code    string
	Message string
}

// Codes of errors that the agent makes itself.
const (
	codeInvalid  = "InvalidParameterException"
	codeNotFound = "ResourceNotFoundException"
	codeDenied   = "AccessDeniedException"
	codeServer   = "ServerException"
	codeCanceled = "RequestCanceled"
)

// change is the body of a PUT.
type change struct {
	ProtectionEnabled *bool
	ExpiresInMinutes  *int64
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	if rest != "task-protection/v1/state" {
		gate.NotFound(w)
		return
	}
	var in change
	switch r.Method {
	case http.MethodGet:
	case http.MethodPut:
		if err := decode(w, r, &in); err != nil {
			refuse(w, http.StatusBadRequest, fault{Code: codeInvalid, Message: "UpdateTaskProtection: failed to decode request"})
			return
		}
	default:
		gate.WrongMethod(w)
		return
	}
	m := h.o.Directory.Endpoint(id)
	if m == nil || h.foreign(r, m.Task.ARN) {
		refuse(w, http.StatusNotFound, fault{Code: codeNotFound, Message: "Failed to find a task for the request"})
		return
	}
	arn := m.Task.ARN
	if r.Method == http.MethodPut && in.ProtectionEnabled == nil {
		refuse(w, http.StatusBadRequest, fault{arn, codeInvalid, "Invalid request: does not contain 'ProtectionEnabled' field"})
		return
	}
	set, ok := h.role(arn, m.Task.Snapshot().CredentialsID)
	if !ok {
		refuse(w, http.StatusForbidden, fault{arn, codeDenied, "Invalid Request: no task IAM role credentials available for task"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callLimit)
	defer cancel()
	tasks, failures, err := h.call(ctx, h.o.API(set), arn, r.Method, &in)
	if err != nil {
		h.o.Log.Warn("task protection failed", zap.String("task", arn), zap.String("method", r.Method), zap.Error(err))
	}
	status, body := outcome(arn, tasks, failures, err)
	gate.Encode(w, status, body)
}

func decode(w http.ResponseWriter, r *http.Request, in *change) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return err
	}
	if m := in.ExpiresInMinutes; m != nil && (*m < math.MinInt32 || *m > math.MaxInt32) {
		return errors.New("ExpiresInMinutes is no 32-bit number")
	}
	return nil
}

func (h *Handler) foreign(r *http.Request, arn string) bool {
	if !h.o.Bound {
		return false
	}
	caller := h.o.Directory.Foreign(r.Context(), r.RemoteAddr, arn)
	if caller != nil {
		h.o.Log.Warn("task protection refused: another task asks", zap.String("task", arn), zap.String("caller", caller.ARN),
			zap.String("remote", r.RemoteAddr))
	}
	return caller != nil
}

// role returns the credentials of the task's role, the newest first.
func (h *Handler) role(arn, id string) (credentials.Set, bool) {
	if id == "" {
		return credentials.Set{}, false
	}
	if set, ok := h.o.Roles.ForTask(arn, credentials.Application); ok {
		return set, true
	}
	return h.o.Roles.Get(id)
}

func (h *Handler) call(ctx context.Context, api API, arn, method string, in *change) ([]ecsapi.ProtectedTask, []ecsapi.Failure, error) {
	tasks := []string{arn}
	if method == http.MethodGet {
		out, err := api.GetTaskProtection(ctx, &ecsapi.GetTaskProtectionInput{Cluster: h.o.Cluster(), Tasks: tasks})
		if err != nil {
			return nil, nil, err
		}
		return out.ProtectedTasks, out.Failures, nil
	}
	request := &ecsapi.UpdateTaskProtectionInput{Cluster: h.o.Cluster(), Tasks: tasks, ProtectionEnabled: *in.ProtectionEnabled}
	if in.ExpiresInMinutes != nil {
		minutes := int(*in.ExpiresInMinutes)
		request.ExpiresInMinutes = &minutes
	}
	out, err := api.UpdateTaskProtection(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	return out.ProtectedTasks, out.Failures, nil
}

// outcome is the answer to what ECS said (docs/spec/04 section 4.3).
func outcome(arn string, tasks []ecsapi.ProtectedTask, failures []ecsapi.Failure, err error) (int, answer) {
	var refusal *ecsapi.Error
	var transport *awsenv.TransportError
	switch {
	case errors.As(err, &refusal):
		return refusal.HTTPStatus, answer{RequestID: refusal.RequestID, Error: &fault{arn, refusal.Code, refusal.Message}}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &transport):
		return http.StatusGatewayTimeout, answer{Error: &fault{arn, codeCanceled, "Timed out calling ECS Task Protection API"}}
	case err != nil:
		return http.StatusInternalServerError, answer{Error: &fault{arn, codeServer, err.Error()}}
	case len(failures) == 1 && len(tasks) == 0:
		f := failures[0]
		return http.StatusOK, answer{Failure: &failure{orNull(f.ARN), orNull(f.Detail), orNull(f.Reason)}}
	case len(failures) == 0 && len(tasks) == 1:
		p := &protection{ProtectionEnabled: tasks[0].ProtectionEnabled, TaskArn: tasks[0].TaskARN}
		if t := tasks[0].ExpirationDate.Time; !t.IsZero() {
			t = t.UTC()
			p.ExpirationDate = &t
		}
		return http.StatusOK, answer{Protection: p}
	default:
		return http.StatusInternalServerError, answer{Error: &fault{arn, codeServer, "Unexpected error occurred"}}
	}
}

func refuse(w http.ResponseWriter, status int, f fault) { gate.Encode(w, status, answer{Error: &f}) }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
