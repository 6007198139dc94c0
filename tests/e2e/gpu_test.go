package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// GPUs that host preparation described are registered, given to one task at a time and
// named to the container. No GPU is here, so an ordinary OCI runtime stands for NVIDIA's.
func TestGPUs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nvidia-gpu-info.json")
	if err := os.WriteFile(file, []byte(`{"DriverVersion":"550.90.07","GPUIDs":["GPU-0a","GPU-0b"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	e := start(t, "ECS_ENABLE_GPU_SUPPORT=true", "ECS_NVIDIA_RUNTIME=runc", "ECS_GPU_INFO_FILE="+file)
	if !e.hasAttribute("ecs.capability.nvidia-driver-version.550.90.07") {
		t.Error("the driver's version is not an attribute of the instance")
	}
	def := definition(sleeper("app", M{"resourceRequirements": []M{{"type": "GPU", "value": "2"}}}), sleeper("side"))
	task := e.running(def)
	app := e.inspect(task, "app")
	if !slices.ContainsFunc(app.Config.Env, func(v string) bool {
		ids, found := strings.CutPrefix(v, "NVIDIA_VISIBLE_DEVICES=")
		got := strings.Split(ids, ",")
		slices.Sort(got)
		return found && slices.Equal(got, []string{"GPU-0a", "GPU-0b"})
	}) {
		t.Errorf("environment of the container with GPUs: %q", app.Config.Env)
	}
	equal(t, "runtime of the container with GPUs", app.HostConfig.Runtime, "runc")
	if side := e.inspect(task, "side").Config.Env; strings.Contains(strings.Join(side, " "), "GPU-0") {
		t.Errorf("environment of the container without: %q", side)
	}
	again, err := e.ECS.Register(e.ctx, def)
	if err != nil {
		t.Fatal(err)
	}
	if tasks, failures, err := e.ECS.Run(e.ctx, again, 1); err != nil || len(tasks) != 0 || !strings.Contains(pretty(failures), "RESOURCE:GPU") {
		t.Errorf("GPUs that are taken: tasks %v, failures %v, error %v", tasks, failures, err)
	}
	e.stop(task.TaskARN)
	e.stop(e.running(def).TaskARN)
}
