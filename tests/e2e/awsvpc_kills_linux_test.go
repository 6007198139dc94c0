package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// fatal is a plugin that sometimes is killed at a random moment, with what it has done by
// then. The real one lies beside it.
const fatal = `#!/bin/bash
real=${0%/*}/real/${0##*/}
case $CNI_COMMAND in ADD | DEL)
	if ((RANDOM % 6 == 0)); then
		printf x >> ${0%/*}/real/kills
		(sleep $(printf 0.%03d $((RANDOM % 40))); exec kill -KILL $$) < /dev/null &> /dev/null &
	fi
esac
exec $real "$@"
`

// fatalPlugins puts fatal in the place of the plugins; the file it returns has a byte for
// each kill.
func (v *vpcEnv) fatalPlugins() (kills string) {
	v.t.Helper()
	files, err := filepath.Glob(filepath.Join(v.plugins, "*"))
	if err == nil {
		err = os.Mkdir(filepath.Join(v.plugins, "real"), 0o700)
	}
	for _, f := range files {
		if err == nil {
			err = os.Rename(f, filepath.Join(v.plugins, "real", filepath.Base(f)))
		}
		if err == nil {
			err = os.WriteFile(f, []byte(fatal), 0o755) //nolint:gosec // it has to be executable
		}
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return filepath.Join(v.plugins, "real", "kills")
}

// Agent and plugins are killed at random moments while tasks get and lose their networks.
// A task either runs and serves, or ends with the reason, and nothing is left.
// ECS_TEST_VPC_CYCLES is how many tasks come and go, ECS_TEST_VPC_SEED draws the moments
// of the agent's kills again.
func TestAWSVPCRandomKills(t *testing.T) {
	cycles, seed := 6, rand.Uint64()
	if n, err := strconv.Atoi(os.Getenv("ECS_TEST_VPC_CYCLES")); err == nil {
		cycles = n
	}
	if n, err := strconv.ParseUint(os.Getenv("ECS_TEST_VPC_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const atOnce, perContext = 6, 24
	ran, ended, agentKills := 0, 0, 0
	// Few addresses, so that MAC addresses come again and again.
	v := withVPC(t, []string{"--vpc-subnet", "NETWORK.1/28"}, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s")
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+cycles/perContext)*limit)
	defer cancel()
	v.ctx = ctx
	kills := v.fatalPlugins()
	crash := func(times int) {
		for range times {
			rest(v.ctx, time.Duration(random.IntN(1500))*time.Millisecond) // the moment is what is random
			v.Agent.Kill()
			v.restart()
			agentKills++
		}
	}
	for done := 0; done < cycles; {
		var arns []string
		for range min(atOnce, cycles-done) {
			name := fmt.Sprint("task", done)
			arns = append(arns, v.launch(vpcDefinition(server("app", name))))
			done++
		}
		crash(2)
		for i, arn := range arns {
			task, err := v.ECS.AwaitStatus(v.ctx, arn, "RUNNING", "STOPPED")
			if err != nil {
				t.Fatalf("%v\n%s", err, pretty(task))
			}
			if task.LastStatus == "RUNNING" {
				v.serves(task, fmt.Sprint("task", done-len(arns)+i))
				ran++
				continue
			}
			ended++
			if !strings.Contains(task.StoppedReason, "ContainerNetworkingError") {
				t.Errorf("the task ended with reason %q:\n%s", task.StoppedReason, pretty(task))
			}
		}
		for _, arn := range arns {
			if err := v.ECS.Stop(v.ctx, arn, "enough"); err != nil {
				t.Fatal(err)
			}
		}
		crash(1)
		for _, arn := range arns {
			if _, err := v.ECS.Await(v.ctx, arn, "the end of "+arn, func(t harness.Task) bool { return t.LastStatus == "STOPPED" }); err != nil {
				t.Fatal(err)
			}
		}
	}
	v.nothingLeftWithin(3 * time.Minute) // clean-up that failed is tried again after one
	pluginKills := 0
	if text, err := os.ReadFile(kills); err == nil {
		pluginKills = len(text)
	}
	t.Logf("%d tasks ran, %d ended with a reason, the agent was killed %d times, plugins %d times", ran, ended, agentKills, pluginKills)
	if ran == 0 {
		t.Error("no task ran")
	}
}
