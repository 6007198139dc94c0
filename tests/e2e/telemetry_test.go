package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// usageOf is what `ecs-local stats` shows of a container.
type usageOf struct {
	Name   string                             `json:"containerName"`
	CPU    struct{ Max, SampleCount float64 } `json:"cpuStatsSet"`
	Memory struct{ Max, SampleCount float64 } `json:"memoryStatsSet"`
	Net    *struct {
		RxBytes struct{ Max float64 } `json:"rxBytes"`
	} `json:"networkStatsSet"`
	Restart *struct {
		Count int `json:"restartCount"`
	} `json:"restartStatsSet"`
}

// stats are the latest metrics of a task's containers by name; nil when there are none.
func (e *env) stats(task harness.Task) (map[string]usageOf, error) {
	cmd := exec.CommandContext(e.ctx, filepath.Join(shared.programs, "ecs-local"), "stats", "--output", "json", "--endpoint", "http://"+e.LocalAddress)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	var all struct {
		Instances []struct {
			Idle  bool
			Tasks []struct {
				ARN        string    `json:"taskArn"`
				Containers []usageOf `json:"containerMetrics"`
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return nil, err
	}
	for _, in := range all.Instances {
		for _, t := range in.Tasks {
			if t.ARN == task.TaskARN {
				found := make(map[string]usageOf)
				for _, c := range t.Containers {
					found[c.Name] = c
				}
				return found, nil
			}
		}
	}
	return nil, nil
}

// Metrics, health and restarts come through to the control plane, which takes only
// what AWS would, and the same counters are in the task's hands; no stats stream of
// Docker's is opened for any of it.
func TestTelemetry(t *testing.T) {
	e := onBridge(t).started()
	watcher := e.fetch() + `while :; do fetch $V4/stats; echo; sleep 0.5; done`
	task := e.running(definition(
		sh("app", watcher, M{"memory": 64, "healthCheck": M{"command": []string{"CMD-SHELL", "true"}, "interval": 5}}),
		sh("busy", "trap 'exit 0' TERM; while :; do :; done", M{"cpu": 128}),
		sh("again", "sleep 6; exit 1", M{"essential": false, "restartPolicy": M{"enabled": true, "restartAttemptPeriod": 60}}),
	))
	var got map[string]usageOf
	err := harness.Poll(e.ctx, "metrics of all containers", func(context.Context) (found bool, err error) {
		got, err = e.stats(task)
		_, app := got["app"]
		_, busy := got["busy"]
		return app && busy, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := got["busy"]; c.CPU.Max <= 1 || c.CPU.Max > 101 || c.CPU.SampleCount < 1 || c.Restart != nil {
		t.Errorf("the busy container: %+v", c)
	}
	if c := got["app"]; c.Memory.Max > 64 || c.Memory.SampleCount < 2 || c.Net == nil || c.Net.RxBytes.Max == 0 {
		t.Errorf("the container that asks: %+v", c)
	}
	if c, ok := got["again"]; ok && c.Restart == nil {
		t.Errorf("the container with a restart policy: %+v", c)
	}
	if _, err := e.ECS.Await(e.ctx, task.TaskARN, "health", func(t harness.Task) bool { return t.HealthStatus == "HEALTHY" }); err != nil {
		t.Error(err)
	}

	// From its first instruction the container got an answer; soon a full one.
	var last struct {
		ID   string `json:"id"`
		Name string
		CPU  struct {
			Online int `json:"online_cpus"`
		} `json:"cpu_stats"`
		Rates *struct {
			Rx float64 `json:"rx_bytes_per_sec"`
		} `json:"network_rate_stats"`
	}
	for i, line := range strings.Split(strings.TrimSpace(e.output(task, "app")), "\n") {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("answer %d is %q: %v", i, line, err)
		}
	}
	if last.ID != task.Container("app").RuntimeID || !strings.HasPrefix(last.Name, "/ecs-") || last.CPU.Online == 0 || last.Rates == nil || last.Rates.Rx <= 0 {
		t.Errorf("the last answer is %+v", last)
	}
	for _, c := range e.engine.Calls() {
		if strings.HasSuffix(c.Path, "/stats") {
			t.Errorf("Docker was asked for %s", c)
		}
	}
	begin := time.Now()
	e.stop(task.TaskARN)
	if d := time.Since(begin); d > 40*time.Second {
		t.Errorf("the stop took %s", d)
	}
}

// Without metrics the instance looks idle, and the stats endpoints have nothing.
func TestTelemetryDisabled(t *testing.T) {
	e := onBridge(t, "ECS_DISABLE_METRICS=true").started()
	task := e.running(definition(sh("app", e.fetch()+`fetch $V4/task/stats; echo; sleep 60`)))
	err := harness.Poll(e.ctx, "the answer", func(context.Context) (bool, error) { return strings.Contains(e.output(task, "app"), "\n"), nil })
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "stats", strings.TrimSpace(e.output(task, "app")), `{"`+task.Container("app").RuntimeID+`":{}}`)
	if got, err := e.stats(task); err != nil || got != nil {
		t.Errorf("metrics %v, %v", got, err)
	}
	e.stop(task.TaskARN)
}
