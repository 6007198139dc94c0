package protection

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/credentials"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const arn = "arn:aws:ecs:eu-west-1:111122223333:task/prod-a/1f2e"

type fakeECS struct {
	signed   credentials.Set
	got      any
	tasks    []ecsapi.ProtectedTask
	failures []ecsapi.Failure
	err      error
}

func (f *fakeECS) GetTaskProtection(_ context.Context, in *ecsapi.GetTaskProtectionInput) (*ecsapi.GetTaskProtectionOutput, error) {
	f.got = *in
	return &ecsapi.GetTaskProtectionOutput{ProtectedTasks: f.tasks, Failures: f.failures}, f.err
}

func (f *fakeECS) UpdateTaskProtection(_ context.Context, in *ecsapi.UpdateTaskProtectionInput) (*ecsapi.UpdateTaskProtectionOutput, error) {
	f.got = *in
	return &ecsapi.UpdateTaskProtectionOutput{ProtectedTasks: f.tasks, Failures: f.failures}, f.err
}

type rig struct {
	*Handler
	ecs   *fakeECS
	roles *credentials.Store
}

func newRig() *rig {
	r := &rig{ecs: &fakeECS{}, roles: credentials.New()}
	dir := directory.New(directory.Options{})
	for i, a := range []string{arn, "arn:other"} {
		st := task.State{Known: task.Running, Containers: []task.ContainerState{{
			Known: task.ContainerRunning, EndpointID: fmt.Sprint("e", i), Networks: []task.Network{{Name: "bridge", IPv4: fmt.Sprintf("172.17.0.%d", i+2)}},
		}}}
		spec := &task.Spec{ARN: a, Containers: []task.Container{{Name: "c"}}}
		if i == 0 {
			spec.CredentialsID = "role"
		}
		dir.Published(st.Snapshot(spec))
	}
	r.roles.Put(credentials.Set{ID: "role", TaskARN: arn, Role: credentials.Application, AccessKeyID: "ASIATASK"})
	r.Handler = New(Options{
		Directory: dir, Roles: r.roles, Cluster: func() string { return "prod-a" }, Bound: true, Log: zap.NewNop(),
		API: func(set credentials.Set) API { r.ecs.signed = set; return r.ecs },
	})
	return r
}

func (r *rig) ask(method, path, body string) string {
	req := httptest.NewRequest(method, "http://169.254.170.2"+path, strings.NewReader(body))
	req.RemoteAddr = "172.17.0.2:9"
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body))
}

const state = "/api/e0/task-protection/v1/state"

// TestAnswers goes through the table of docs/spec/04 section 4.3.
func TestAnswers(t *testing.T) {
	until := ecsapi.At(time.Date(2026, 2, 3, 12, 20, 30, 0, time.UTC))
	protected := ecsapi.ProtectedTask{TaskARN: arn, ProtectionEnabled: true, ExpirationDate: until}
	withARN := func(code, message string) string {
		return fmt.Sprintf(`{"error":{"Arn":"%s","Code":"%s","Message":"%s"}}`, arn, code, message)
	}
	const undecodable = `400 {"error":{"Code":"InvalidParameterException","Message":"UpdateTaskProtection: failed to decode request"}}`
	const notFound = `404 {"error":{"Code":"ResourceNotFoundException","Message":"Failed to find a task for the request"}}`
	for name, c := range map[string]struct {
		method, path, body string
		ecs                fakeECS
		want               string
	}{
		"get":                 {"GET", state, "ignored", fakeECS{tasks: []ecsapi.ProtectedTask{protected}}, `200 {"protection":{"ExpirationDate":"2026-02-03T12:20:30Z","ProtectionEnabled":true,"TaskArn":"` + arn + `"}}`},
		"put":                 {"PUT", state, `{"protectionenabled":true,"EXPIRESINMINUTES":60} trailing`, fakeECS{tasks: []ecsapi.ProtectedTask{protected}}, `200 {"protection":{"ExpirationDate":"2026-02-03T12:20:30Z","ProtectionEnabled":true,"TaskArn":"` + arn + `"}}`},
		"not protected":       {"GET", state, "", fakeECS{tasks: []ecsapi.ProtectedTask{{TaskARN: arn}}}, `200 {"protection":{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"` + arn + `"}}`},
		"failure":             {"PUT", state, `{"ProtectionEnabled":true}`, fakeECS{failures: []ecsapi.Failure{{ARN: arn, Reason: "TASK_NOT_VALID"}}}, `200 {"failure":{"Arn":"` + arn + `","Detail":null,"Reason":"TASK_NOT_VALID"}}`},
		"two failures":        {"GET", state, "", fakeECS{failures: make([]ecsapi.Failure, 2)}, "500 " + withARN("ServerException", "Unexpected error occurred")},
		"nothing":             {"GET", state, "", fakeECS{}, "500 " + withARN("ServerException", "Unexpected error occurred")},
		"empty body":          {"PUT", state, "", fakeECS{}, undecodable},
		"no json":             {"PUT", state, "{", fakeECS{}, undecodable},
		"unknown key":         {"PUT", state, `{"ProtectionEnabled":true,"x":1}`, fakeECS{}, undecodable},
		"wrong type":          {"PUT", state, `{"ProtectionEnabled":"yes"}`, fakeECS{}, undecodable},
		"too many minutes":    {"PUT", state, `{"ProtectionEnabled":true,"ExpiresInMinutes":4294967297}`, fakeECS{}, undecodable},
		"too long":            {"PUT", state, `{"ProtectionEnabled":` + strings.Repeat(" ", 100_000) + `true}`, fakeECS{}, undecodable},
		"nothing asked":       {"PUT", state, `{}`, fakeECS{}, "400 " + withARN("InvalidParameterException", "Invalid request: does not contain 'ProtectionEnabled' field")},
		"null":                {"PUT", state, `{"ProtectionEnabled":null}`, fakeECS{}, "400 " + withARN("InvalidParameterException", "Invalid request: does not contain 'ProtectionEnabled' field")},
		"unknown id":          {"GET", "/api/nope/task-protection/v1/state", "", fakeECS{}, notFound},
		"unknown id, bad":     {"PUT", "/api/nope/task-protection/v1/state", "{", fakeECS{}, undecodable},
		"unknown id, nothing": {"PUT", "/api/nope/task-protection/v1/state", "{}", fakeECS{}, notFound},
		"another's id":        {"GET", "/api/e1/task-protection/v1/state", "", fakeECS{}, notFound},
		"refused": {"GET", state, "", fakeECS{err: fmt.Errorf("call: %w", &ecsapi.Error{Code: "AccessDeniedException", Message: "User is not authorized", HTTPStatus: 400, RequestID: "r-1"})},
			`400 {"requestID":"r-1","error":{"Arn":"` + arn + `","Code":"AccessDeniedException","Message":"User is not authorized"}}`},
		"deadline":    {"GET", state, "", fakeECS{err: fmt.Errorf("call: %w", context.DeadlineExceeded)}, "504 " + withARN("RequestCanceled", "Timed out calling ECS Task Protection API")},
		"unreachable": {"GET", state, "", fakeECS{err: fmt.Errorf("call: %w", &awsenv.TransportError{Err: errors.New("refused")})}, "504 " + withARN("RequestCanceled", "Timed out calling ECS Task Protection API")},
		"other":       {"GET", state, "", fakeECS{err: errors.New("odd")}, "500 " + withARN("ServerException", "odd")},
		"head":        {"HEAD", state, "", fakeECS{}, "405"},
		"post":        {"POST", state, "{}", fakeECS{}, "405"},
		"other path":  {"GET", "/api/e0/task-protection/v1/state/", "", fakeECS{}, "404 404 page not found"},
		"no path":     {"GET", "/api/e0/task-protection/", "", fakeECS{}, "404 404 page not found"},
	} {
		r := newRig()
		*r.ecs = c.ecs
		if got := r.ask(c.method, c.path, c.body); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	r := newRig()
	r.ask("PUT", state, `{"ProtectionEnabled":true,"ExpiresInMinutes":-5}`)
	in, ok := r.ecs.got.(ecsapi.UpdateTaskProtectionInput)
	if !ok || in.Cluster != "prod-a" || len(in.Tasks) != 1 || in.Tasks[0] != arn || !in.ProtectionEnabled || *in.ExpiresInMinutes != -5 {
		t.Errorf("sent %+v", r.ecs.got)
	}
	if r.ecs.signed.AccessKeyID != "ASIATASK" {
		t.Errorf("signed with %+v", r.ecs.signed)
	}
	r.ask("PUT", state, `{"ProtectionEnabled":false}`)
	if in = r.ecs.got.(ecsapi.UpdateTaskProtectionInput); in.ExpiresInMinutes != nil || in.ProtectionEnabled {
		t.Errorf("sent %+v", in)
	}
	r.roles.RemoveTask(arn)
	if got, want := r.ask("GET", state, ""), `403 {"error":{"Arn":"`+arn+`","Code":"AccessDeniedException","Message":"Invalid Request: no task IAM role credentials available for task"}}`; got != want {
		t.Errorf("without a role: %s", got)
	}
}

func FuzzPut(f *testing.F) {
	for _, s := range []string{`{"ProtectionEnabled":true}`, `{`, `null`, `[]`, `{"ExpiresInMinutes":1e3}`, `{"ProtectionEnabled":true,"ProtectionEnabled":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := newRig()
		r.ecs.tasks = []ecsapi.ProtectedTask{{TaskARN: arn}}
		if got := r.ask("PUT", state, body); !strings.HasPrefix(got, "200") && !strings.HasPrefix(got, "400") {
			t.Errorf("%q: %s", body, got)
		}
	})
}
