package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dockernetwork "github.com/docker/docker/api/types/network"

	"ecsagent/tests/harness"
)

const (
	taskRole      = "arn:aws:iam::000000000000:role/web"
	executionRole = "arn:aws:iam::000000000000:role/execution"
)

// onBridge makes an env whose task endpoint listens where containers of the default
// bridge reach it without packet rules: on the bridge's own address.
func onBridge(t *testing.T, agent ...string) *env {
	t.Helper()
	e := prepared(t, agent...)
	bridge, err := shared.docker.NetworkInspect(e.ctx, "bridge", dockernetwork.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", bridge.IPAM.Config[0].Gateway+":0")
	if err != nil {
		t.Fatal(err)
	}
	e.TaskEndpoint = l.Addr().String()
	_ = l.Close()
	return e
}

func (e *env) started() *env {
	e.t.Helper()
	if err := e.Start(e.ctx); err != nil {
		e.t.Fatal(err)
	}
	return e
}

// fetch is a shell function that gets a path of the task endpoint, whatever the status.
func (e *env) fetch() string {
	return fmt.Sprintf(`fetch() { wget -qO- "http://%s$1" 2>&1; }
V4=${ECS_CONTAINER_METADATA_URI_V4#http://169.254.170.2}; V3=${ECS_CONTAINER_METADATA_URI#http://169.254.170.2}
`, e.TaskEndpoint)
}

// asked asks the task endpoint from the host.
func (e *env) asked(path string) (int, string) {
	e.t.Helper()
	reply, err := http.Get("http://" + e.TaskEndpoint + path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer reply.Body.Close()
	body, _ := io.ReadAll(reply.Body)
	return reply.StatusCode, string(body)
}

// variable is an environment variable of a task's container, as Docker has it.
func (e *env) variable(task harness.Task, container, name string) string {
	e.t.Helper()
	for _, kv := range e.inspect(task, container).Config.Env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

func withRoles(def M) M {
	def["taskRoleArn"], def["executionRoleArn"] = taskRole, executionRole
	return def
}

// A container has its credentials and its metadata from its first instruction.
func TestEndpointsFromTheFirstInstruction(t *testing.T) {
	e := onBridge(t).started()
	script := e.fetch() + `fetch $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo; fetch $V4; echo; fetch $V4/task; echo; fetch $V3; echo; fetch $V4/stats; echo; echo done; sleep 60`
	task := e.running(withRoles(bridged(sh("app", script, M{"portMappings": []M{{"containerPort": 80}}}), sleeper("side"))))
	var lines []string
	err := harness.Poll(e.ctx, "the container to have asked", func(context.Context) (bool, error) {
		lines = strings.Split(e.output(task, "app"), "\n")
		return len(lines) > 5 && lines[5] == "done", nil
	})
	if err != nil {
		t.Fatal(err, lines)
	}
	var keys struct{ RoleArn, AccessKeyId, SecretAccessKey, Token, Expiration string }
	if err := json.Unmarshal([]byte(lines[0]), &keys); err != nil || keys.RoleArn != taskRole || keys.AccessKeyId == "" || keys.SecretAccessKey == "" || keys.Token == "" {
		t.Errorf("credentials %s: %v", lines[0], err)
	}
	if until, err := time.Parse(time.RFC3339, keys.Expiration); err != nil || time.Until(until) < time.Minute {
		t.Errorf("credentials end at %q (%v)", keys.Expiration, err)
	}
	id := task.Container("app").RuntimeID
	for _, line := range []string{lines[1], lines[3]} {
		var c struct {
			DockerId, KnownStatus string
			Networks              []struct {
				NetworkMode   string
				IPv4Addresses []string
			}
			Labels map[string]string
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil || c.DockerId != id || c.KnownStatus != "RUNNING" || len(c.Networks) != 1 ||
			c.Networks[0].NetworkMode != "bridge" || c.Networks[0].IPv4Addresses[0] == "" || c.Labels["com.amazonaws.ecs.task-arn"] != task.TaskARN {
			t.Errorf("container %s: %v", line, err)
		}
	}
	var whole struct{ TaskARN, Cluster string }
	if err := json.Unmarshal([]byte(lines[2]), &whole); err != nil || whole.TaskARN != task.TaskARN || whole.Cluster != e.Cluster {
		t.Errorf("task %s: %v", lines[2], err)
	}
	if !json.Valid([]byte(lines[4])) {
		t.Errorf("stats %s", lines[4])
	}

	uri := e.variable(task, "app", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	if status, _ := e.asked(uri); status != 200 {
		t.Errorf("from the host: %d", status)
	}
	for _, a := range []string{"task-iam-role", "task-iam-role-network-host"} {
		if !has(e.instance(), "com.amazonaws.ecs.capability."+a) {
			t.Errorf("%s is not advertised", a)
		}
	}
	metadata := strings.TrimPrefix(e.variable(task, "app", "ECS_CONTAINER_METADATA_URI_V4"), "http://169.254.170.2")
	e.stop(task.TaskARN)
	if status, body := e.asked(uri); status != 400 || !strings.Contains(body, "InvalidIdInRequest") {
		t.Errorf("after the task's end: %d %s", status, body)
	}
	if status, body := e.asked(metadata + "/task"); status != 200 || !strings.Contains(body, `"KnownStatus":"STOPPED"`) {
		t.Errorf("metadata after the task's end: %d %s", status, body)
	}
	var audit []byte
	e.eventually(patience, "the request in the audit log", func() (bool, error) {
		var err error
		audit, err = os.ReadFile(filepath.Join(e.Dir, "log", "audit.log"))
		return strings.Contains(string(audit), task.TaskARN+" GetCredentials 2 "), err
	})
	contains(t, "audit log", string(audit), ` "/v2/credentials" `, task.TaskARN+" GetCredentials 2 "+e.Cluster+" arn:aws:ecs:")
	if strings.Contains(string(audit), strings.TrimPrefix(uri, "/v2/credentials/")) || strings.Contains(string(audit), keys.SecretAccessKey) {
		t.Error("the audit log holds a credentials id or a secret")
	}
}

func has(i harness.Instance, attribute string) bool {
	for _, a := range i.Attributes {
		if a.Name == attribute {
			return true
		}
	}
	return false
}

// A task cannot use what another task was given, not even when it knows the id.
func TestStolenIDsAreRefused(t *testing.T) {
	e := onBridge(t).started()
	owner := e.running(withRoles(bridged(sleeper("app"))))
	uri := e.variable(owner, "app", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	endpoint := strings.TrimPrefix(e.variable(owner, "app", "ECS_CONTAINER_METADATA_URI_V4"), "http://169.254.170.2")
	api := strings.TrimPrefix(e.variable(owner, "app", "ECS_AGENT_URI"), "http://169.254.170.2")
	script := fmt.Sprintf(`for p in %s %s/task %s/task-protection/v1/state; do
wget -S -qO- "http://%s$p" 2>&1 | grep "^ *HTTP/"; done; echo done`, uri, endpoint, api, e.TaskEndpoint)
	// It runs: before that its address is nobody's, as one of the host's own.
	thief := e.running(withRoles(bridged(sleeper("thief"))))
	out, err := e.exec(thief.Container("thief").RuntimeID, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out), " "); got != "HTTP/1.1 400 Bad Request HTTP/1.1 404 Not Found HTTP/1.1 404 Not Found done" {
		t.Errorf("the thief got %q", got)
	}
	e.eventually(patience, "the refusal in the audit log", func() (bool, error) {
		audit, err := os.ReadFile(filepath.Join(e.Dir, "log", "audit.log"))
		return strings.Contains(string(audit), owner.TaskARN+" GetCredentialsRefused 2 "), err
	})
	if status, _ := e.asked(uri); status != 200 {
		t.Errorf("the owner's credentials from the host: %d", status)
	}
	// Introspection shows no id that opens something.
	for _, path := range []string{"/v1/tasks", "/v1/tasks?taskarn=" + owner.TaskARN, "/v1/metadata"} {
		_, body, err := e.Introspect(e.ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{strings.TrimPrefix(uri, "/v2/credentials/"), strings.TrimPrefix(endpoint, "/v4/")} {
			if strings.Contains(string(body), id) {
				t.Errorf("introspection %s shows %s", path, id)
			}
		}
	}
	// Names that were rebound reach nothing.
	r, err := http.NewRequestWithContext(e.ctx, "GET", "http://"+e.TaskEndpoint+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.example"
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	equal(t, "with a foreign host name", reply.StatusCode, http.StatusForbidden)
}

// Task protection goes to ECS with the task's own role and comes back.
func TestTaskProtection(t *testing.T) {
	e := onBridge(t).started()
	task := e.running(withRoles(bridged(sleeper("app"))))
	api := "http://" + e.TaskEndpoint + strings.TrimPrefix(e.variable(task, "app", "ECS_AGENT_URI"), "http://169.254.170.2") + "/task-protection/v1/state"
	ask := func(method, body string) (int, string) {
		r, err := http.NewRequestWithContext(e.ctx, method, api, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		text, _ := io.ReadAll(reply.Body)
		return reply.StatusCode, string(text)
	}
	status, body := ask("GET", "")
	if want := `{"protection":{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"` + task.TaskARN + `"}}`; status != 200 || body != want {
		t.Errorf("%d %s", status, body)
	}
	if status, body = ask("PUT", `{"ProtectionEnabled":true,"ExpiresInMinutes":5}`); status != 200 || !strings.Contains(body, `"ProtectionEnabled":true`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body = ask("GET", ""); status != 200 || !strings.Contains(body, `"ProtectionEnabled":true`) || strings.Contains(body, "null") {
		t.Errorf("%d %s", status, body)
	}
	if status, body = ask("PUT", `{"ProtectionEnabled":true,"ExpiresInMinutes":100000}`); status != 400 || !strings.Contains(body, `"Code":"InvalidParameterException"`) || !strings.Contains(body, `"requestID"`) {
		t.Errorf("%d %s", status, body)
	}
	e.stop(task.TaskARN)
	if status, body = ask("GET", ""); status != 403 {
		t.Errorf("after the task's end: %d %s", status, body)
	}
}

// A container can read about itself in a file (ECS_ENABLE_CONTAINER_METADATA).
func TestContainerMetadataFile(t *testing.T) {
	e := prepared(t, "ECS_ENABLE_CONTAINER_METADATA=true", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s").started()
	task := e.running(bridged(sh("app", `while ! grep -q READY $ECS_CONTAINER_METADATA_FILE; do sleep 0.1; done; cat $ECS_CONTAINER_METADATA_FILE; echo; echo done; sleep 60`)))
	var out string
	err := harness.Poll(e.ctx, "the container to have read its file", func(context.Context) (bool, error) {
		out = e.output(task, "app")
		return strings.HasSuffix(out, "\ndone\n"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file := decode[struct{ TaskARN, ContainerID, MetadataFileStatus string }](t, []byte(strings.TrimSuffix(out, "\ndone\n")))
	if file.TaskARN != task.TaskARN || file.ContainerID != task.Container("app").RuntimeID || file.MetadataFileStatus != "READY" {
		t.Errorf("%s", out)
	}
	e.stop(task.TaskARN)
	err = harness.Poll(e.ctx, "the files to be gone", func(context.Context) (bool, error) {
		left, err := filepath.Glob(filepath.Join(e.Dir, "data", "metadata", "*", "*"))
		return len(left) == 0, err
	})
	if err != nil {
		t.Error(err)
	}
}
