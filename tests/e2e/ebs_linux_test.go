package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// attachVolume makes a loop device that the host's kernel, as the plugin sees it, has for a
// volume, and returns it.
func (a *apart) attachVolume(id string) (device string) {
	a.t.Helper()
	image := a.in(id)
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Truncate(image, 32<<20); err != nil {
		a.t.Fatal(err)
	}
	out, err := exec.CommandContext(a.t.Context(), "losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		a.t.Skipf("no loop device: %v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	a.t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() }) // on purpose: the test's context is over
	disk := filepath.Join(a.in("sys/block"), filepath.Base(device))
	if err := os.MkdirAll(disk, 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(disk, "serial"), []byte(strings.ReplaceAll(id, "-", "")+"\n"), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return device
}

// properties are those of the attachment of a volume.
func properties(volume, host string) []M {
	var list []M
	for name, value := range map[string]string{"volumeId": volume, "volumeSizeGib": "1", "deviceName": "/dev/xvdba",
		"sourceVolumeHostPath": host, "volumeName": "data", "fileSystem": "ext4"} {
		list = append(list, M{"name": name, "value": value})
	}
	return list
}

// announce tells the agent of a volume and returns the attachment's ARN.
func (s *scripted) announce(task, volume, host string, waitMS int) (arn string) {
	s.t.Helper()
	arn = strings.Replace(s.TaskARN(volume), ":task/", ":attachment/", 1)
	message := "confirm-" + volume
	if err := s.Send("ConfirmAttachmentMessage", M{
		"messageId": message, "clusterArn": s.ClusterARN(), "containerInstanceArn": s.InstanceARN(), "taskArn": s.TaskARN(task),
		"waitTimeoutMs": waitMS, "attachment": M{"attachmentArn": arn, "attachmentType": "amazonebs", "attachmentProperties": properties(volume, host)},
	}); err != nil {
		s.t.Fatal(err)
	}
	s.ack(message)
	return arn
}

// attached waits until the agent has told that an attachment is there.
func (s *scripted) attached(arn string) {
	s.t.Helper()
	s.eventually("the report of "+arn, func() bool {
		for _, c := range s.Calls("SubmitAttachmentStateChanges") {
			if strings.Contains(string(c.Body), `"attachmentArn":"`+arn+`"`) && strings.Contains(string(c.Body), `"status":"ATTACHED"`) {
				return true
			}
		}
		return false
	})
}

func (s *scripted) eventually(what string, is func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := harness.Poll(ctx, what, func(context.Context) (bool, error) { return is(), nil }); err != nil {
		s.t.Fatal(err)
	}
}

// A volume that ECS announces is found when it comes, formatted, reported and mounted into
// the task's container, whose user may write to it; it is unmounted before ECS hears that
// the task has stopped. Agent and plugin are killed in between.
func TestEBS(t *testing.T) {
	a := newApart(t)
	a.sh("mkdir -p /mnt/ecs/ebs")
	if err := os.MkdirAll(a.in("sys/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := a.startPlugin("--sys", a.in("sys"))
	s := scriptOn(t, func(o *harness.Options) {
		o.DockerHost, o.Inside = a.host, []string{"nsenter", "--mount=" + a.space + "mnt"}
		o.Agent = append(o.Agent, "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached", "ECS_ENABLE_TASK_CPU_MEM_LIMIT=false")
	})
	const volume, host = "vol-0123456789abcdef0", "data-0123"
	mount := "/mnt/ecs/ebs/" + host
	arn := s.announce("one", volume, host, 300_000)

	// It is not there yet, and the agent is killed.
	s.Agent.Kill()
	if err := s.StartAgent(); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitACS(s.ctx, 2); err != nil {
		t.Fatal(err)
	}
	if calls := s.Calls("SubmitAttachmentStateChanges"); len(calls) > 0 {
		t.Fatalf("reported before it is there: %s", calls[0].Body)
	}
	a.attachVolume(volume)
	s.attached(arn)
	if !a.mounted(mount) {
		t.Error("reported before it is mounted")
	}

	// The task has it, as a user who is not root.
	task := func(status string) M {
		c := wireSleeper("app")
		c["image"] = a.image
		c["command"] = []string{"sh", "-c", "echo hello >/v/file || exit 3; trap 'exit 0' TERM; " + waits}
		c["dockerConfig"] = M{"version": "1.24", "config": `{"User":"1000:1000"}`, "hostConfig": `{"NetworkMode":"none"}`}
		c["mountPoints"] = []M{{"sourceVolume": "data", "containerPath": "/v", "readOnly": false}}
		out := s.task("one", status, c)
		out["networkMode"], out["volumes"] = "none", []M{{"name": "data"}}
		out["attachments"] = []M{{"attachmentArn": arn, "attachmentType": "amazonebs", "attachmentProperties": properties(volume, host)}}
		return out
	}
	s.send("run", s.NextSeq(), task("RUNNING"))
	s.ack("run")
	s.change("one", "RUNNING")
	s.eventually("the file in the volume", func() bool { return a.sh("cat "+mount+"/file 2>/dev/null || true") == "hello\n" })

	// Both are killed; the volume stays with the container.
	p.Kill()
	s.Agent.Kill()
	p = a.startPlugin("--sys", a.in("sys"))
	if err := s.StartAgent(); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitACS(s.ctx, 3); err != nil {
		t.Fatal(err)
	}
	if !a.mounted(mount) {
		t.Error("unmounted while the task runs")
	}
	s.send("stop", s.NextSeq(), task("STOPPED"))
	s.ack("stop")
	s.change("one", "STOPPED")
	if a.mounted(mount) {
		t.Error("ECS heard that the task has stopped before its volume was unmounted")
	}
	equal(t, "folders", a.sh("ls /mnt/ecs/ebs"), "")

	// One that never comes is forgotten, and nothing is told of it.
	s.announce("two", "vol-00000000000000002", "data-2", 1500)
	s.eventually("the record to expire", func() bool {
		return strings.Contains(harness.Tail(s.AgentLog(), 200), "attachment did not show up in time")
	})
	if calls := s.Calls("SubmitAttachmentStateChanges"); len(calls) != 1 {
		t.Errorf("%d reports of attachments", len(calls))
	}

	// One whose task never comes is unmounted when the agent starts after its time.
	const lost = "vol-00000000000000003"
	arn = s.announce("three", lost, "data-3", 3000)
	a.attachVolume(lost)
	s.attached(arn)
	if !a.mounted("/mnt/ecs/ebs/data-3") {
		t.Error("reported before it is mounted")
	}
	rest(s.ctx, 3*time.Second)
	s.Agent.Kill()
	if err := s.StartAgent(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the volume to be unmounted", func() bool { return !a.mounted("/mnt/ecs/ebs/data-3") })
	if !p.Running() {
		t.Error("the plugin ended")
	}
}
