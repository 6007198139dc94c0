package e2e

import (
	"net/http"
	"testing"

	"github.com/containerd/errdefs"

	"ecsagent/tests/proxy"
)

// withVolume is a task definition whose container has a Docker volume at /v.
func withVolume(name, script string, configuration M) M {
	def := definition(sh("app", script, M{"mountPoints": []M{{"sourceVolume": name, "containerPath": "/v"}}}))
	def["volumes"] = []M{{"name": name, "dockerVolumeConfiguration": configuration}}
	return def
}

// Each option of a Docker volume reaches Docker; what is shared outlives its tasks and is
// compared where the settings say so, what is a task's goes with it; what Docker refuses
// is the task's reason, and the agent goes on.
func TestDockerVolumes(t *testing.T) {
	e := start(t, "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG=true", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s")
	shared1 := "shared" + randomHex()
	options, labels := M{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000"}, M{"of": e.Cluster}
	shares := func(more M) M {
		c := M{"scope": "shared", "autoprovision": true, "driver": "local", "driverOpts": options, "labels": labels}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	t.Cleanup(func() { _ = shared.docker.VolumeRemove(e.ctx, shared1, true) })

	// Docker refuses to make it, and then to look at it.
	for call, want := range map[string]string{"POST /volumes/create": "no space for volumes", "GET /volumes/{id}": "no look at volumes"} {
		fault := e.engine.Disturb(call, 0, proxy.Fail(http.StatusInternalServerError, want))
		refused := e.stopped(e.launch(withVolume(shared1, "true", shares(nil))))
		contains(t, "reason", refused.StoppedReason, want)
		fault.Lift()
	}

	// Made with its options for the first task, and there for the next.
	first := e.running(withVolume(shared1, "echo hello >/v/file; trap 'exit 0' TERM; "+"sleep 3600 & while :; do wait; done", shares(nil)))
	made, err := shared.docker.VolumeInspect(e.ctx, shared1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "volume", pretty(M{"driver": made.Driver, "options": made.Options, "labels": made.Labels}),
		pretty(M{"driver": "local", "options": options, "labels": labels}))
	equal(t, "exit code", exitCode(e.stopped(e.launch(withVolume(shared1, "grep hello /v/file", shares(nil)))).Container("app")), "0")
	equal(t, "exit code without autoprovision", exitCode(e.stopped(e.launch(withVolume(shared1, "grep hello /v/file", M{"scope": "shared"}))).Container("app")), "0")
	for name, c := range map[string]struct {
		configuration M
		want          string
	}{
		"labels":  {shares(M{"labels": M{"of": "another"}}), "existing volume '" + shared1 + "' has other labels than the task asks for"},
		"options": {shares(M{"driverOpts": M{"type": "tmpfs", "device": "tmpfs"}}), "existing volume '" + shared1 + "' has other driver options than the task asks for"},
		"absent":  {M{"scope": "shared"}, "does not exist and autoprovision is set to false"},
	} {
		volume := shared1
		if name == "absent" {
			volume += "-absent"
		}
		contains(t, name, e.stopped(e.launch(withVolume(volume, "true", c.configuration))).StoppedReason, c.want)
	}

	// A task's own has its options too, and goes with it; the shared one stays.
	own := e.running(withVolume("own", "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", M{"scope": "task", "driver": "local", "driverOpts": options, "labels": labels}))
	names := e.volumesOf(own, "app")
	if len(names) != 1 {
		t.Fatalf("volumes %q", names)
	}
	info, err := shared.docker.VolumeInspect(e.ctx, names[0])
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "options and labels", pretty(M{"options": info.Options, "labels": info.Labels}), pretty(M{"options": options, "labels": labels}))
	e.stop(own.TaskARN)
	e.stop(first.TaskARN)
	e.eventually(patience, "the task's volume to be removed", func() (bool, error) {
		_, err := shared.docker.VolumeInspect(e.ctx, names[0])
		return errdefs.IsNotFound(err), nil
	})
	e.eventually(patience, "the tasks' containers to be removed", func() (bool, error) {
		all, err := e.Containers(e.ctx, shared.docker)
		return len(all) == 0, err
	})
	if _, err := shared.docker.VolumeInspect(e.ctx, shared1); err != nil {
		t.Errorf("the shared volume went with its tasks: %v", err)
	}
}
