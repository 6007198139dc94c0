package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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

// v4 is the path of a container's metadata.
func (e *env) v4(task harness.Task, container string) string {
	return strings.TrimPrefix(e.variable(task, container, "ECS_CONTAINER_METADATA_URI_V4"), "http://169.254.170.2")
}

// Metrics, health and restarts come through to the control plane, which takes only
// what AWS would, and the same counters are in the task's hands; no stats stream of
// Docker's is opened for any of it.
func TestTelemetry(t *testing.T) {
	free, err := harness.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	prometheus := fmt.Sprintf("127.0.0.1:%d", free[0])
	e := onBridge(t, "ECS_ENABLE_PROMETHEUS_METRICS=true", "ECS_PROMETHEUS_ADDRESS="+prometheus).started()
	task := e.running(bridged(
		sleeper("app", M{"memory": 64, "healthCheck": M{"command": []string{"CMD-SHELL", "true"}, "interval": 5}}),
		sh("busy", "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); [ $((i%5000)) != 0 ] || sleep 0.05; done"),
		sh("again", "sleep 6; exit 1", M{"essential": false, "restartPolicy": M{"enabled": true, "restartAttemptPeriod": 60}}),
	))
	var got map[string]usageOf
	err = harness.Poll(e.ctx, "metrics of all containers", func(context.Context) (found bool, err error) {
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
	if c := got["app"]; c.Memory.Max > 64 || c.Memory.SampleCount < 2 || c.Net == nil {
		t.Errorf("the quiet container: %+v", c)
	}
	if c, ok := got["again"]; ok && c.Restart == nil {
		t.Errorf("the container with a restart policy: %+v", c)
	}
	if _, err := e.ECS.Await(e.ctx, task.TaskARN, "health", func(t harness.Task) bool { return t.HealthStatus == "HEALTHY" }); err != nil {
		t.Error(err)
	}

	status, body := e.asked(e.v4(task, "app") + "/stats")
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
	if err := json.Unmarshal([]byte(body), &last); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if last.ID != task.Container("app").RuntimeID || !strings.HasPrefix(last.Name, "/ecs-") || last.CPU.Online == 0 || last.Rates == nil {
		t.Errorf("the task's own answer is %s", body)
	}
	for _, c := range e.engine.Calls() {
		if strings.HasSuffix(c.Path, "/stats") {
			t.Errorf("Docker was asked for %s", c)
		}
	}
	e.checkMetrics("http://" + prometheus + "/metrics")
	begin := time.Now()
	e.stop(task.TaskARN)
	if d := time.Since(begin); d > 40*time.Second {
		t.Errorf("the stop took %s", d)
	}
}

// checkMetrics reads what Prometheus would, and has promtool look at it where there is one.
func (e *env) checkMetrics(url string) {
	e.t.Helper()
	reply, err := http.Get(url)
	if err != nil {
		e.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		e.t.Fatalf("metrics: %d %v %s", reply.StatusCode, err, text)
	}
	contains(e.t, "metrics", string(text),
		`ecs_agent_connection_attempts_total{channel="acs",result="connected"} `, `ecs_agent_connection_attempts_total{channel="tcs",result="connected"} `,
		`ecs_agent_connected{channel="acs"} 1`, `ecs_agent_connected{channel="tcs"} 1`)
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		e.t.Log("no promtool here; scripts/deps test installs it")
		return
	}
	check := exec.CommandContext(e.ctx, promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		e.t.Errorf("promtool: %v: %s", err, out)
	}
}

// Without metrics the instance looks idle, and the stats endpoints have nothing.
func TestTelemetryDisabled(t *testing.T) {
	e := onBridge(t, "ECS_DISABLE_METRICS=true").started()
	task := e.running(bridged(sleeper("app")))
	status, body := e.asked(e.v4(task, "app") + "/task/stats")
	equal(t, "stats", fmt.Sprint(status, " ", strings.TrimSpace(body)), `200 {"`+task.Container("app").RuntimeID+`":{}}`)
	if got, err := e.stats(task); err != nil || got != nil {
		t.Errorf("metrics %v, %v", got, err)
	}
	e.stop(task.TaskARN)
}
