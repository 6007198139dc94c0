package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// installExec lays out a stand-in for the SSM agent, and returns the folder of managed
// agents.
func installExec(t *testing.T, version, script string) string {
	t.Helper()
	dir := filepath.Join(socketDir(t), "deps")
	if err := harness.InstallExec(dir, version, script); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The exec agent, played by a script, is put into the containers, started, started again
// when it ends, taken over by a restarted agent, and ends with its container; ECS hears of
// all of it. A task without it runs all the same.
func TestExecAgent(t *testing.T) {
	deps := installExec(t, "3.3.40.0", `#!/bin/sh
cd "${0%/*}" || exit 2
echo "$0 as $(id -u): $(cat configuration/amazon-ssm-agent.json)" >>/var/log/amazon/ssm/said
test -s configuration/seelog.xml && test -s certs/amazon-ssm-agent.crt && test -x ./ssm-session-worker || exit 3
mkfifo /tmp/end-$$; echo $$ >>/var/log/amazon/ssm/pids; read code </tmp/end-$$; exit $code
`)
	e := start(t, "ECS_MANAGED_AGENTS_DIR="+deps, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1s")
	e.ECS.ExecuteCommand = true
	arn := e.launch(definition(sleeper("app"), sleeper("side", M{"essential": false})))
	awaitAgent := func(container, want string) harness.Task {
		t.Helper()
		task, err := e.ECS.Await(e.ctx, arn, "its exec agent to be "+want, func(task harness.Task) bool { return task.Container(container).ExecAgent() == want })
		if err != nil {
			t.Fatalf("%v\n%s", err, pretty(task))
		}
		return task
	}
	awaitAgent("app", "RUNNING: ExecuteCommandAgent started")
	task := awaitAgent("side", "RUNNING: ExecuteCommandAgent started")
	logs := filepath.Join(e.Dir, "log", "tasks", "exec", arn[strings.LastIndexByte(arn, '/')+1:], "app")
	// lines waits for as many: the agent is told of as running before its script has begun.
	lines := func(name string, n int) (all []string) {
		t.Helper()
		e.eventually(time.Minute, fmt.Sprintf("line %d of what the exec agent writes to %s", n, name), func() (bool, error) {
			b, err := os.ReadFile(filepath.Join(logs, name))
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			all = strings.Split(strings.TrimSpace(string(b)), "\n")
			return len(all) >= n && strings.HasSuffix(string(b), "\n"), err
		})
		return all
	}
	if said := lines("said", 1); len(said) != 1 || !strings.HasPrefix(said[0], "/ecs-execute-command-") ||
		!strings.Contains(said[0], "/amazon-ssm-agent as 0: ") || !strings.Contains(said[0], `"SessionWorkersLimit":2`) {
		t.Errorf("the agent said %q", said)
	}
	pids := func(n int) []string {
		t.Helper()
		return lines("pids", n)
	}
	end := func(pid string) {
		t.Helper()
		if out, err := e.exec(task.Container("app").RuntimeID, "sh", "-c", "echo 7 >/tmp/end-"+pid); err != nil {
			t.Fatalf("end the exec agent: %v: %s", err, out)
		}
	}
	end(pids(1)[0])
	awaitAgent("app", "RUNNING: ExecuteCommandAgent restarted")
	pids(2)

	// A killed agent finds both: the one that runs on, and the one that ended meanwhile.
	e.Agent.Kill()
	end(pids(2)[1])
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	pids(3)
	e.instance()
	if said := harness.Tail(filepath.Join(filepath.Dir(logs), "side", "pids"), 100); len(strings.Fields(said)) != 1 {
		t.Errorf("the exec agent that ran on was started again: %q", said)
	}
	task = e.stop(arn)
	equal(t, "the exec agent of a container that ended", task.Container("app").ExecAgent(), "STOPPED: Received Container Stopped event")
	e.eventually(time.Minute, "the logs to be removed", func() (bool, error) {
		_, err := os.Stat(filepath.Dir(logs))
		return os.IsNotExist(err), nil
	})

	// Where the programs went away after the registration, the task runs on without.
	if err := os.RemoveAll(filepath.Join(deps, "execute-command", "bin", "3.3.40.0")); err != nil {
		t.Fatal(err)
	}
	arn = e.launch(definition(sleeper("app")))
	e.awaits(arn, "RUNNING")
	awaitAgent("app", "STOPPED: ExecuteCommandAgent Initialization failed - no valid versions were found in "+filepath.Join(deps, "execute-command", "bin"))
	e.stop(arn)
}
