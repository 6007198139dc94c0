package credentials

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/endpoint/audit"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type heard struct{ lines []string }

func (h *heard) Record(_ *http.Request, status int, taskARN string, event audit.Event) {
	h.lines = append(h.lines, strings.TrimSpace(fmt.Sprint(status, " ", taskARN, " ", event)))
}

type rig struct {
	*Handler
	store *credentials.Store
	dir   *directory.Directory
	audit *heard
}

func newRig(bound bool) *rig {
	r := &rig{store: credentials.New(), dir: directory.New(directory.Options{}), audit: &heard{}}
	r.Handler = New(Options{Store: r.store, Directory: r.dir, Audit: r.audit, Bound: bound, Log: zap.NewNop()})
	return r
}

func (r *rig) ask(target, remote string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("GET", target, nil)
	if remote != "" {
		req.RemoteAddr = remote
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// task publishes a task with both roles, and a running container at an address.
func (r *rig) task(arn, address string, change ...func(*task.State)) {
	spec := &task.Spec{ARN: arn, CredentialsID: arn + "-role", ExecutionCredentialsID: arn + "-exec", Containers: []task.Container{{Name: "c"}}}
	st := task.State{Known: task.Running, Containers: []task.ContainerState{{
		Known: task.ContainerRunning, EndpointID: arn + "-endpoint", Networks: []task.Network{{Name: "bridge", IPv4: address}},
	}}}
	for _, fn := range change {
		fn(&st)
	}
	r.dir.Published(st.Snapshot(spec))
}

func (r *rig) keys(arn string) {
	for role, id := range map[credentials.Role]string{credentials.Application: arn + "-role", credentials.Execution: arn + "-exec"} {
		r.store.Put(credentials.Set{ID: id, TaskARN: arn, Role: role, RoleARN: "arn:aws:iam::111122223333:role/<web>&", AccessKeyID: "ASIAEXAMPLE",
			SecretAccessKey: "s/e+c", SessionToken: "t==", Expiration: "2026-02-03T16:11:12Z"})
	}
}

const success = `{"RoleArn":"arn:aws:iam::111122223333:role/\u003cweb\u003e\u0026","AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"s/e+c","Token":"t==","Expiration":"2026-02-03T16:11:12Z"}`

func TestAnswers(t *testing.T) {
	r := newRig(true)
	r.Handler.o.Hold = time.Nanosecond
	r.task("t1", "172.17.0.2")
	r.keys("t1")
	r.task("t2", "172.17.0.3")
	r.task("t3", "172.17.0.4", func(st *task.State) { st.Known = task.Stopped })
	bad := func(version int, code, message string, status int) string {
		return fmt.Sprintf(`{"code":"%s","message":"CredentialsV%dRequest: %s","HTTPErrorCode":%d}`, code, version, message, status)
	}
	for _, c := range []struct {
		target string
		status int
		body   string
		audit  string
	}{
		{"/v2/credentials/t1-role", 200, success, "200 t1 GetCredentials"},
		{"/v1/credentials?id=t1-role", 200, success, "200 t1 GetCredentials"},
		{"/v2/credentials/t1-exec", 200, success, "200 t1 GetCredentialsExecutionRole"},
		{"/v2/credentials/", 400, bad(2, "NoIdInRequest", "No Credential ID in the request", 400), "400"},
		{"/v1/credentials", 400, bad(1, "NoIdInRequest", "No Credential ID in the request", 400), "400"},
		{"/v1/credentials?id=", 400, bad(1, "NoIdInRequest", "No Credential ID in the request", 400), "400"},
		{"/v2/credentials/t1-role/x", 400, bad(2, "InvalidIdInRequest", "Credentials not found", 400), "400"},
		{"/v1/credentials?id=nope", 400, bad(1, "InvalidIdInRequest", "Credentials not found", 400), "400"},
		{"/v2/credentials/t2-role", 503, bad(2, "CredentialsUninitialized", "Credentials uninitialized for ID", 503), "503"},
		{"/v1/credentials?id=t2-exec", 503, bad(1, "CredentialsUninitialized", "Credentials uninitialized for ID", 503), "503"},
		{"/v2/credentials/t3-role", 400, bad(2, "InvalidIdInRequest", "Credentials not found", 400), "400"},
	} {
		r.audit.lines = nil
		w := r.ask(c.target, "")
		if w.Code != c.status || w.Body.String() != c.body || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %v\nwant %d %s", c.target, w.Code, w.Body, w.Header(), c.status, c.body)
		}
		if len(r.audit.lines) != 1 || r.audit.lines[0] != c.audit {
			t.Errorf("%s: audit %q, want %q", c.target, r.audit.lines, c.audit)
		}
		if again := w.Header().Get("Retry-After"); (again != "") != (c.status == 503) {
			t.Errorf("%s: Retry-After %q", c.target, again)
		}
	}
}

// A request that comes while the credentials are on their way waits for them.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(true)
		r.task("t1", "172.17.0.2")
		go func() {
			time.Sleep(2 * time.Second)
			r.keys("t1")
		}()
		begin := time.Now()
		if w := r.ask("/v2/credentials/t1-role", "172.17.0.2:1"); w.Code != 200 || time.Since(begin) != 2*time.Second {
			t.Errorf("%d after %v", w.Code, time.Since(begin))
		}
		r.store.RemoveTask("t1")
		begin = time.Now()
		if w := r.ask("/v2/credentials/t1-role", "172.17.0.2:1"); w.Code != 503 || time.Since(begin) != DefaultHold {
			t.Errorf("%d after %v", w.Code, time.Since(begin))
		}
	})
}

func TestForeignCallers(t *testing.T) {
	for _, bound := range []bool{true, false} {
		r := newRig(bound)
		r.task("t1", "172.17.0.2")
		r.task("t2", "172.17.0.3")
		r.keys("t1")
		r.keys("t2")
		for _, c := range []struct {
			id, remote string
			refused    bool
		}{
			{"t1-role", "172.17.0.2:5", false},
			{"t1-role", "[::ffff:172.17.0.2]:5", false},
			{"t1-role", "172.17.0.3:5", true},
			{"t2-role", "172.17.0.2:5", true},
			{"t1-role", "127.0.0.1:5", false},  // a process of the host
			{"t1-role", "172.17.0.9:5", false}, // not known to be a task's
			{"t1-exec", "127.0.0.1:5", false},  // the Docker daemon
			{"t1-exec", "172.17.0.2:5", true},
			{"t1-exec", "172.17.0.3:5", true},
			{"t1-role", "not an address", false},
		} {
			r.audit.lines = nil
			w := r.ask("/v2/credentials/"+c.id, c.remote)
			want := 200
			if c.refused && bound {
				want = 400
				if !strings.Contains(w.Body.String(), "InvalidIdInRequest") || r.audit.lines[0] != "400 "+c.id[:2]+" GetCredentialsRefused" {
					t.Errorf("%+v: %s, audit %q", c, w.Body, r.audit.lines)
				}
			}
			if w.Code != want {
				t.Errorf("bound %v, %+v: %d, want %d", bound, c, w.Code, want)
			}
		}
	}
}

// An id that is held back is bound too, and an unknown one says nothing of its owner.
func TestForeignCallersAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(true)
		r.task("t1", "172.17.0.2")
		r.task("t2", "172.17.0.3")
		begin := time.Now()
		if w := r.ask("/v2/credentials/t1-role", "172.17.0.3:1"); w.Code != 400 || time.Since(begin) != 0 {
			t.Errorf("%d after %v", w.Code, time.Since(begin))
		}
	})
}

// The address of an ended container may belong to one that has just been started and
// was not looked at yet: its first instruction may ask for credentials.
func TestAddressThatPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(true)
		r.task("t1", "172.17.0.2")
		r.keys("t2")
		r.task("t2", "", func(st *task.State) {
			st.Containers[0].Known, st.Containers[0].Applied = task.ContainerCreated, task.ContainerRunning
		})
		go func() {
			time.Sleep(300 * time.Millisecond)
			r.task("t2", "172.17.0.2")
		}()
		if w := r.ask("/v2/credentials/t2-role", "172.17.0.2:1"); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		// Somebody else cannot use that moment.
		r.task("t3", "172.17.0.3")
		r.task("t2", "", func(st *task.State) {
			st.Containers[0].Known, st.Containers[0].Applied = task.ContainerCreated, task.ContainerRunning
		})
		if w := r.ask("/v2/credentials/t2-role", "172.17.0.3:1"); w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func FuzzRequests(f *testing.F) {
	for _, s := range []string{"/v2/credentials/", "/v1/credentials?id=a&id=b", "/v2/credentials/%00", "/v1/credentials?id=%zz;", "/v2/credentials/t1-role"} {
		f.Add(s)
	}
	r := newRig(true)
	r.task("t1", "172.17.0.2")
	r.keys("t1")
	f.Fuzz(func(t *testing.T, target string) {
		req := httptest.NewRequest("GET", "/", nil)
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut(target, "?")
		if !strings.HasPrefix(req.URL.Path, v2Prefix) {
			req.URL.Path = "/v1/credentials"
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != 400 && (w.Code != 200 || !strings.Contains(target, "t1-")) {
			t.Errorf("%q: %d %s", target, w.Code, w.Body)
		}
	})
}
