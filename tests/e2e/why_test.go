package e2e

import (
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ecsagent/tests/proxy"
	"ecsagent/tests/registry"
)

// agentCLI runs ecs-agent's own command line with the running agent's settings.
func (e *env) agentCLI(args ...string) string {
	e.t.Helper()
	cmd := exec.CommandContext(e.ctx, filepath.Join(shared.programs, "ecs-agent"), args...)
	cmd.Env = e.AgentEnvironment()
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		e.t.Fatalf("ecs-agent %v: %v\n%s%s", args, err, out, errs.String())
	}
	return string(out)
}

// told is the timeline of a task as `ecs-agent tasks ID --output json` and the
// introspection server have it.
type told struct {
	Arn, KnownStatus, DesiredStatus string
	Waits                           []struct{ Container, For, Detail, Since string }
	Timeline                        []struct{ At, Container, Event, Detail string }
}

// told is empty while the agent does not know the task yet.
func (e *env) told(arn string) told {
	e.t.Helper()
	status, body, err := e.Introspect(e.ctx, "/v1/tasks/"+url.PathEscape(arn)+"/timeline")
	if err == nil && status == http.StatusNotFound {
		return told{}
	}
	if err != nil || status != http.StatusOK {
		e.t.Fatalf("timeline of %s: %d, %v, %s", arn, status, err, body)
	}
	return decode[told](e.t, body)
}

// waits waits until a task tells what it waits for, and until it is in the list and in
// the task's own page of the command line as well.
func (e *env) waits(arn, detail string) {
	e.t.Helper()
	e.eventually(patience, "the task to wait for "+detail, func() (bool, error) {
		return slices.ContainsFunc(e.told(arn).Waits, func(w struct{ Container, For, Detail, Since string }) bool {
			return strings.Contains(w.Detail, detail)
		}), nil
	})
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	contains(e.t, "list of tasks", e.agentCLI("tasks"), id[:12], detail)
	contains(e.t, "page of the task", e.agentCLI("tasks", id[:8]), "WAITS FOR", detail, "TIME", arn)
	asked := decode[told](e.t, []byte(e.agentCLI("tasks", id, "--output", "json")))
	if asked.Arn != arn || !strings.Contains(pretty(asked.Waits), detail) {
		e.t.Errorf("tasks %s --output json: %s", id, pretty(asked))
	}
}

// Whatever a task waits for, a person can see it, on the introspection server and on the
// command line; and afterwards what happened.
func TestAgentTellsWhyTasksWait(t *testing.T) {
	e := start(t)
	// A registry that stalls.
	ref, repository := e.misbehaving(registry.Fault{Stall: true, Blobs: true})
	pulling := e.launch(definition(sleeper("app", M{"image": ref})))
	e.waits(pulling, " of "+ref) // its digest, or its pull
	shared.registry.Set(repository, registry.Fault{})
	e.stop(pulling)

	// Health, and an order.
	ordered := e.launch(definition(
		sleeper("db", M{"healthCheck": M{"command": []string{"CMD-SHELL", "test -e /tmp/ok"}, "interval": 5, "timeout": 5, "retries": 10}}),
		sleeper("app", after("db", "HEALTHY")),
	))
	e.waits(ordered, "health of db")
	e.stop(ordered)

	// Docker, which takes its time.
	task := e.running(definition(sleeper("app")))
	held := make(chan struct{})
	f := e.engine.Disturb("POST /containers/{id}/stop", 1, proxy.Hold(held))
	if err := e.ECS.Stop(e.ctx, task.TaskARN, "the test says so"); err != nil {
		t.Fatal(err)
	}
	if err := f.Await(e.ctx, 1); err != nil {
		t.Fatal(err)
	}
	e.waits(task.TaskARN, "Docker to stop container app")
	close(held)
	e.stopped(task.TaskARN)

	// ECS, which does not listen.
	e.plane.SetAnswer(func(operation string, _ []byte) (int, string) {
		if operation != "SubmitTaskStateChange" {
			return 0, ""
		}
		return 500, `{"__type":"ServerException","message":"not now"}`
	})
	silent := e.launch(definition(sh("app", "exit 3")))
	e.waits(silent, "ECS to accept that it is STOPPED")
	e.plane.SetAnswer(nil)
	e.stopped(silent)

	// What happened, in order.
	line := e.told(task.TaskARN)
	var words []string
	for _, entry := range line.Timeline {
		words = append(words, strings.TrimSpace(entry.Container+" "+entry.Event+" "+entry.Detail))
	}
	want := []string{
		"accepted desired RUNNING", "admitted", "app status NONE -> MANIFEST_PULLED", "app pull started " + shared.tools,
		"app pull ended " + shared.tools, "app status PULLED -> CREATED", "app status CREATED -> RUNNING", "status CREATED -> RUNNING",
		"reported RUNNING", "desired RUNNING -> STOPPED", "app status RUNNING -> STOPPED, exit code 0", "status RUNNING -> STOPPED", "reported STOPPED",
	}
	at := 0
	for _, w := range words {
		if at < len(want) && w == want[at] {
			at++
		}
	}
	if at < len(want) {
		t.Errorf("the timeline lacks %q, or has it in another place:\n%s", want[at], strings.Join(words, "\n"))
	}
	page := e.agentCLI("tasks", task.TaskARN)
	contains(t, "page of the task", page, "exit code 0", "reported", task.TaskARN)
}
