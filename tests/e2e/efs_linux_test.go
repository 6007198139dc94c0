package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"ecsagent/tests/harness"
)

// onApart is an env whose agent runs on a host with mounts of its own.
func onApart(t *testing.T, a *apart, agent ...string) *env {
	t.Helper()
	e := prepared(t, append([]string{"ECS_IMAGE_PULL_BEHAVIOR=prefer-cached", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENABLE_TASK_CPU_MEM_LIMIT=false"}, agent...)...)
	e.DockerHost = a.host
	e.Inside = []string{"nsenter", "--mount=" + a.space + "mnt"}
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// withEFS is a task definition whose container has a file system at /v.
func (a *apart) withEFS(script string, efs M) M {
	def := withRoles(bridged(sh("app", script, M{"image": a.image, "mountPoints": []M{{"sourceVolume": "data", "containerPath": "/v"}}})))
	def["networkMode"] = "none"
	def["volumes"] = []M{{"name": "data", "efsVolumeConfiguration": efs}}
	return def
}

// attributes are the names of what an instance offers.
func attributes(i harness.Instance) (names []string) {
	for _, a := range i.Attributes {
		names = append(names, a.Name)
	}
	return names
}

// A task definition with file systems runs through ECS, the agent, Docker and the volume
// plugin; one that is refused tells why; an agent that is killed meanwhile goes on.
func TestEFS(t *testing.T) {
	a := newApart(t)
	p := a.startPlugin()
	e := onApart(t, a)
	for _, want := range []string{"ecs.capability.efs", "ecs.capability.efsAuth", "ecs.capability.docker-plugin.amazon-ecs-volume-plugin"} {
		if !slices.Contains(attributes(e.instance()), want) {
			t.Errorf("the instance does not offer %s", want)
		}
	}

	// Everything that a definition can ask for, as the mount helper hears it.
	full := M{"fileSystemId": "fs-1", "rootDirectory": "/", "transitEncryption": "ENABLED", "transitEncryptionPort": 20049,
		"authorizationConfig": M{"accessPointId": "fsap-1", "iam": "ENABLED"}}
	written := e.awaits(e.launch(a.withEFS("echo hello >/v/file; trap 'exit 0' TERM; "+waits, full)), "RUNNING")
	a.await("the file to be written", nil, func(context.Context) (bool, error) {
		text, err := os.ReadFile(a.in("fs/fs-1/file"))
		return string(text) == "hello\n", err
	})
	words := strings.Fields(harness.Tail(a.in("calls"), 1))
	if len(words) != 6 {
		t.Fatalf("the helper was called with %q", words)
	}
	options := strings.Split(words[3], ",")
	if len(options) != 5 || !strings.HasPrefix(options[3], "awscredsuri=/v2/credentials/") {
		t.Fatalf("options %q", options)
	}
	equal(t, "options", options[0]+" "+options[1]+" "+options[2]+" "+options[4], "tls tlsport=20049 iam accesspoint=fsap-1")
	equal(t, "type and file system", words[1]+" "+words[4], "efs fs-1:/")
	contains(t, "folder", words[5], a.volumes()+"/ecs-", "-1-data-")

	// Killed while a file system hangs; the task runs when it does not any more.
	p.hold("fs-2")
	slow := e.launch(a.withEFS("trap 'exit 0' TERM; "+waits, M{"fileSystemId": "fs-2", "rootDirectory": "/x"}))
	p.held("fs-2")
	e.Agent.Kill()
	p.free("fs-2")
	e.restart()
	e.awaits(slow, "RUNNING")

	// Refused, with the helper's words.
	if err := os.WriteFile(a.in("fs-3.refuse"), []byte("mount.nfs4: access denied by server while mounting fs-3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := e.stopped(e.launch(a.withEFS("true", M{"fileSystemId": "fs-3"})))
	contains(t, "reason", refused.Container("app").Reason, "access denied by server while mounting fs-3")

	// Nothing is left but the file system.
	e.stop(written.TaskARN)
	e.stop(slow)
	e.eventually(patience, "the volumes to be removed", func() (bool, error) {
		return a.sh("cat /var/lib/ecs/data/ecs_volume_plugin.json") == "{}", nil
	})
	equal(t, "folders", a.sh("ls "+a.volumes()), "")
	equal(t, "file", harness.Tail(a.in("fs/fs-1/file"), 1), "hello")
}
