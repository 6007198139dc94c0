package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ecsagent/tests/harness"
)

// GPUs that are described after the start are registered and given to tasks, without a
// restart of the agent or of what runs; after a restart they are there at once.
func TestGPUsArriveLate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nvidia-gpu-info.json")
	e := start(t, "ECS_ENABLE_GPU_SUPPORT=true", "ECS_GPU_INFO_FILE="+file)
	const attribute = "ecs.capability.nvidia-driver-version.550.90.07"
	if e.hasAttribute(attribute) {
		t.Fatal("there is a driver already")
	}
	runs, before := e.running(definition(sleeper("app"))), e.instance()
	for _, content := range []string{`{"DriverVersion":"550.90.07","GPUI`, `{"DriverVersion":"550.90.07","GPUIDs":["GPU-0a"]}`} { // half written at first
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(content, "}") {
			e.eventually(patience, "the broken file to be told of", func() (bool, error) {
				return strings.Contains(harness.Tail(e.AgentLog(), 200), "GPUs not known"), nil
			})
		}
	}
	e.eventually(patience, "the instance to be registered with its GPU", func() (bool, error) { return e.hasAttribute(attribute), nil })
	equal(t, "instance", e.instance().ARN, before.ARN)
	gpu := definition(sleeper("app", M{"resourceRequirements": []M{{"type": "GPU", "value": "1"}}}))
	asks := func() {
		task := e.stopped(e.launch(gpu)) // Docker has none
		if r := e.inspect(task, "app").HostConfig.DeviceRequests; len(r) != 1 || !slices.Equal(r[0].DeviceIDs, []string{"GPU-0a"}) {
			t.Errorf("request for devices: %+v", r)
		}
	}
	asks()
	e.Agent.Kill()
	e.restart()
	asks()
	e.stop(runs.TaskARN)
}

// GPUs that host preparation described are registered, given to one task at a time and
// asked of Docker, as an external instance does it (docs/spec/02 section 4.8). No GPU is
// here: Docker's refusal is the container's reason, and the GPUs are free again.
func TestGPUs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nvidia-gpu-info.json")
	if err := os.WriteFile(file, []byte(`{"DriverVersion":"550.90.07","GPUIDs":["GPU-0a","GPU-0b"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	e := start(t, "ECS_ENABLE_GPU_SUPPORT=true", "ECS_GPU_INFO_FILE="+file)
	if !e.hasAttribute("ecs.capability.nvidia-driver-version.550.90.07") {
		t.Error("the driver's version is not an attribute of the instance")
	}
	wants := func(count string) M {
		return definition(sleeper("app", M{"resourceRequirements": []M{{"type": "GPU", "value": count}}}))
	}
	tooMany, err := e.ECS.Register(e.ctx, wants("3"))
	if err != nil {
		t.Fatal(err)
	}
	if tasks, failures, err := e.ECS.Run(e.ctx, tooMany, 1); err != nil || len(tasks) != 0 || !strings.Contains(pretty(failures), "RESOURCE:GPU") {
		t.Errorf("more GPUs than there are: tasks %v, failures %v, error %v", tasks, failures, err)
	}
	for range 2 { // the second time shows that they were given back
		task := e.stopped(e.launch(wants("2")))
		contains(t, "reason", task.Container("app").Reason, "CannotStartContainerError: ", "gpu")
		requests := e.inspect(task, "app").HostConfig.DeviceRequests
		if len(requests) != 1 {
			t.Fatalf("requests for devices: %+v", requests)
		}
		got := slices.Sorted(slices.Values(requests[0].DeviceIDs))
		if !slices.Equal(got, []string{"GPU-0a", "GPU-0b"}) || len(requests[0].Capabilities) != 1 || !slices.Equal(requests[0].Capabilities[0], []string{"gpu"}) {
			t.Errorf("request for devices: %+v", requests[0])
		}
	}
}
