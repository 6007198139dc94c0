package app

import (
	"testing"

	"go.uber.org/zap"

	"ecsagent/agent/stats"
	"ecsagent/agent/store"
	"ecsagent/agent/task"
)

// What a container used before a restart is known to the next process of the agent,
// and forgotten when the container does not run any more.
func TestUsageBases(t *testing.T) {
	dir := t.TempDir()
	reopen := func() *agent {
		s, loaded, err := store.Open(dir, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return &agent{base: &base{log: zap.NewNop()}, store: s, loaded: loaded}
	}
	a := reopen()
	state := task.State{Containers: []task.ContainerState{
		{Known: task.ContainerRunning, RuntimeID: "runs"}, {Known: task.ContainerStopped, RuntimeID: "ended"},
	}}
	spec := &task.Spec{ARN: "arn:t", Containers: []task.Container{{Name: "a"}, {Name: "b"}}}
	if err := a.store.SaveTasks(1, []task.Record{{Spec: spec, State: state}}); err != nil {
		t.Fatal(err)
	}
	b := a.savedBases()
	used := stats.Sample{CPU: stats.CPU{Usage: stats.CPUUsage{Total: 7, PerCPU: []uint64{3, 4}}}, Networks: map[string]stats.Network{"eth0": {RxBytes: 5}}}
	for _, id := range []string{"runs", "ended", "unknown"} {
		if err := b.SaveBase(id, &stats.Base{Restarts: 2, Sample: used}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time, what was forgotten is not there
		if err := a.store.Close(); err != nil {
			t.Fatal(err)
		}
		a = reopen()
		b = a.savedBases()
	}
	got, err := b.LoadBase("runs")
	if err != nil || got == nil || got.Restarts != 2 || got.Sample.CPU.Usage.Total != 7 || got.Sample.Networks["eth0"].RxBytes != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	if len(a.loaded.Usage) != 1 {
		t.Errorf("kept: %v", a.loaded.Usage)
	}
	if got, err := b.LoadBase("ended"); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	a.loaded.Usage["runs"] = []byte("{")
	if _, err := b.LoadBase("runs"); err == nil {
		t.Error("a damaged record was taken")
	}
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
}
