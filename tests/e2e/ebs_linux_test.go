package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ecsagent/agent/resource/ebs"
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

// group runs a test that is parallel to others to its end, with the host for it.
func (a *apart) group(t *testing.T, name string, test func(t *testing.T, a *apart)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Run("", func(t *testing.T) {
			own := *a
			own.t = t
			test(t, &own)
		})
	})
}

func TestEBS(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("no loop devices: %v", err)
	}
	a := newApart(t)
	a.sh("mkdir -p /mnt/ecs/ebs")
	a.group(t, "of a task", ebsOfATask)
	a.group(t, "that nobody takes", ebsThatNobodyTakes)
}

// A definition with a volume that is configured at launch: ECS has the volume attached and
// announced, it is formatted and mounted into the task's container, whose user may write to
// it, and unmounted before ECS hears that the task has stopped, which takes it away. Agent
// and plugin are killed in between.
func ebsOfATask(t *testing.T, a *apart) {
	sys := a.in("volumes/sys")
	e := prepared(t, "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached", "ECS_ENABLE_TASK_CPU_MEM_LIMIT=false", "ECS_EXTERNAL=false", "AWS_EC2_METADATA_DISABLED=false")
	e.DockerHost, e.Inside = a.host, []string{"nsenter", "--mount=" + a.space + "mnt"}
	e.LocalArgs = []string{"--imds", "--volumes", a.in("volumes")}
	e.Options.Agent = append(e.Options.Agent, "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://"+e.LocalAddress)
	kind := "ext4"
	if _, err := exec.LookPath("mkfs.xfs"); err == nil {
		kind = "xfs" // which is ECS's own choice
	}
	e.ECS.Volumes = []M{{"name": "data", "managedEBSVolume": M{"sizeInGiB": 1, "filesystemType": kind, "roleArn": executionRole}}}
	p := a.startPlugin("--sys", sys)
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}

	// Nobody mounts it, and the agent is killed.
	p.Kill()
	def := definition(sh("app", "echo hello >/v/file || exit 3; trap 'exit 0' TERM; "+waits, M{
		"image": a.image, "user": "1000:1000", "mountPoints": []M{{"sourceVolume": "data", "containerPath": "/v"}}}))
	def["networkMode"], def["volumes"] = "none", []M{{"name": "data", "configuredAtLaunch": true}}
	arn := e.launch(def)
	e.eventually(patience, "the agent to look for the volume", func() (bool, error) {
		return strings.Contains(harness.Tail(e.AgentLog(), 100), "volume not staged, it is tried again"), nil
	})
	e.Agent.Kill()
	p = a.startPlugin("--sys", sys)
	e.restart()
	task := e.awaits(arn, "RUNNING")
	if len(task.Attachments) != 1 || task.Attachments[0].Status != "ATTACHED" {
		t.Fatalf("attachments %s", pretty(task.Attachments))
	}
	mount := "/mnt/ecs/ebs/" + arn[strings.LastIndexByte(arn, '/')+1:] + "_" + task.Attachments[0].Detail("volumeId")
	e.eventually(patience, "the file in the volume", func() (bool, error) { return a.sh("cat "+mount+"/file 2>/dev/null || true") == "hello\n", nil })
	equal(t, "file system", a.sh("findmnt -no FSTYPE "+mount), kind+"\n")

	socket := strings.TrimSuffix(a.space, "ns/") + "root" + ebs.Socket
	if used, size, err := ebs.NewClient(socket).Usage(e.ctx, filepath.Base(mount)); err != nil || used == 0 || size < 900<<20 || size > 1<<30 {
		t.Errorf("%d of %d bytes are used: %v", used, size, err)
	}

	// Both are killed; the volume stays with the container.
	p.Kill()
	e.Agent.Kill()
	a.startPlugin("--sys", sys)
	e.restart()
	if !a.mounted(mount) {
		t.Error("unmounted while the task runs")
	}
	ended := e.stop(arn)
	if a.mounted(mount) {
		t.Error("ECS heard that the task has stopped before its volume was unmounted")
	}
	equal(t, "folders", a.sh("ls /mnt/ecs/ebs"), "")
	equal(t, "status of the attachment", ended.Attachments[0].Status, "DELETED")
	e.eventually(patience, "the volume to go", func() (bool, error) {
		return a.sh("cd "+a.in("volumes")+"; ls sys/block; ls | grep img || true") == "", nil
	})
}

// Volumes that are announced by a control plane of the test's own, and never used.
func ebsThatNobodyTakes(t *testing.T, a *apart) {
	if err := os.MkdirAll(a.in("sys/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := a.startPlugin("--sys", a.in("sys"))
	s := scriptOn(t, func(o *harness.Options) {
		o.DockerHost, o.Inside = a.host, []string{"nsenter", "--mount=" + a.space + "mnt"}
		o.Agent = append(o.Agent, "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached", "ECS_ENABLE_TASK_CPU_MEM_LIMIT=false")
	})

	// One that never comes is forgotten, and nothing is told of it.
	s.announce("two", "vol-00000000000000002", "data-2", 1500)
	s.eventually("the record to expire", func() bool {
		return strings.Contains(harness.Tail(s.AgentLog(), 200), "attachment did not show up in time")
	})
	if calls := s.Calls("SubmitAttachmentStateChanges"); len(calls) > 0 {
		t.Errorf("%d reports of attachments", len(calls))
	}

	// One whose task never comes is unmounted when the agent starts after its time.
	const lost = "vol-00000000000000003"
	arn := s.announce("three", lost, "data-3", 3000)
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
