package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// shelf is Disks that keeps what it is told.
type shelf struct {
	mu     sync.Mutex
	there  []string // volume ids with their sizes
	kept   []string
	refuse error
}

func (s *shelf) Attach(volume string, gib int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := fmt.Sprint(volume, " ", gib); s.refuse == nil && !slices.Contains(s.there, one) {
		s.there = append(s.there, one)
	}
	return s.refuse
}

func (s *shelf) Detach(volume string, keep bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there = slices.DeleteFunc(s.there, func(one string) bool { return strings.HasPrefix(one, volume+" ") })
	if keep {
		s.kept = append(s.kept, volume)
	}
	return nil
}

func (s *shelf) list() (there, kept []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.there), slices.Clone(s.kept)
}

func (s *shelf) set(refuse error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// withDisks is a world whose host can have volumes, with a task definition that leaves one open.
func withDisks(t *testing.T, wait time.Duration) (w *world, disks *shelf, host string) {
	t.Helper()
	disks = &shelf{}
	w = newWorld(t, t.TempDir())
	w.opts.Disks, w.opts.AttachWait = disks, wait
	w.restart()
	must[api.ClusterResponse](w, "CreateCluster", m{})
	host = w.host(8192, 8192, func(in m) {
		in["attributes"] = append(in["attributes"].([]m), m{"name": "ecs.capability.storage.ebs-task-volume-attach"})
	})
	w.define("disk", func(def, container m) {
		def["volumes"] = []m{{"name": "data", "configuredAtLaunch": true}, {"name": "own"}}
		container["mountPoints"] = []m{{"sourceVolume": "data", "containerPath": "/data"}}
	})
	return w, disks, host
}

// ebs asks for a volume, changed as told.
func ebs(change m) m {
	volume := m{"sizeInGiB": 20, "roleArn": "arn:aws:iam::000000000000:role/infrastructure", "filesystemType": "ext4"}
	for k, v := range change {
		if v == nil {
			delete(volume, k)
			continue
		}
		volume[k] = v
	}
	return m{"taskDefinition": "disk", "volumeConfigurations": []m{{"name": "data", "managedEBSVolume": volume}}}
}

func (w *world) confirmVolume(attachment string) {
	w.t.Helper()
	must[api.Acknowledgment](w, "SubmitAttachmentStateChanges", m{"cluster": "default", "attachments": []m{{"attachmentArn": attachment, "status": "ATTACHED"}}})
}

// A task gets its volume before its agent gets the task, and the volume goes when it has
// stopped. All of that goes on over a restart.
func TestVolumeOfATask(t *testing.T) {
	w, disks, host := withDisks(t, time.Hour)
	task := must[api.TasksResponse](w, "RunTask", ebs(nil)).Tasks[0]
	if task.LastStatus != api.StatusProvisioning || len(w.link.parcels()) != 0 {
		t.Fatalf("status %s, delivered %v", task.LastStatus, w.link.parcels())
	}
	told := w.link.announcements()
	if len(told) != 1 || told[0].TaskARN != task.TaskARN || told[0].Wait != time.Hour || told[0].Attachment == nil {
		t.Fatalf("announced %+v", told)
	}
	a := told[0].Attachment
	volume := w.s.Volumes()[0]
	id := task.TaskARN[strings.LastIndexByte(task.TaskARN, '/')+1:]
	want := []wire.Property{{Name: "volumeId", Value: volume}, {Name: "volumeSizeGib", Value: "20"}, {Name: "deviceName", Value: "/dev/xvdba"},
		{Name: "sourceVolumeHostPath", Value: id + "_" + volume}, {Name: "volumeName", Value: "data"}, {Name: "fileSystem", Value: "ext4"}}
	if a.Type != "amazonebs" || !slices.Equal(a.Properties, want) {
		t.Errorf("attachment %+v, want %+v", a, want)
	}
	if there, _ := disks.list(); !slices.Equal(there, []string{volume + " 20"}) {
		t.Errorf("attached %q", there)
	}
	shown := w.describe(task.TaskARN).Attachments
	if len(shown) != 1 || shown[0].Type != "AmazonElasticBlockStorage" || shown[0].Status != "ATTACHING" ||
		!slices.Contains(shown[0].Details, api.KeyValue{Name: "volumeId", Value: volume}) || !slices.Contains(shown[0].Details, api.KeyValue{Name: "deleteOnTermination", Value: "true"}) {
		t.Errorf("shown %+v", shown)
	}

	w.restart()
	w.s.Connected(host, true, "1.105.1", "1a2b3c4d", "25.0.8")
	if again := w.link.announcements(); len(again) != 1 || again[0].Attachment == nil || again[0].Attachment.ARN != a.ARN {
		t.Errorf("announced after a restart %+v", again)
	}
	w.confirmVolume("arn:of:another")
	if n := len(w.link.parcels()); n != 0 {
		t.Fatalf("%d payloads by another's attachment", n)
	}
	w.confirmVolume(a.ARN)
	w.confirmVolume(a.ARN)
	if n := len(w.link.parcels()); n != 1 {
		t.Fatalf("%d payloads", n)
	}
	_, payload := w.link.last(t)
	attachments, volumes := payload["attachments"].([]any), payload["volumes"].([]any)
	if len(attachments) != 1 || attachments[0].(map[string]any)["attachmentArn"] != a.ARN {
		t.Errorf("attachments %v", attachments)
	}
	if len(volumes) != 2 || len(volumes[0].(map[string]any)) != 1 || volumes[1].(map[string]any)["type"] != "host" {
		t.Errorf("volumes %v", volumes)
	}
	w.ack()
	w.submit(task.TaskARN, api.StatusRunning, m{"containerName": "app", "status": api.StatusRunning})
	if got := w.describe(task.TaskARN); got.LastStatus != api.StatusRunning || got.Attachments[0].Status != "ATTACHED" {
		t.Errorf("%+v", got)
	}
	w.submit(task.TaskARN, api.StatusStopped)
	if there, kept := disks.list(); len(there) != 0 || len(kept) != 0 || len(w.s.Volumes()) != 0 {
		t.Errorf("left: %q, kept %q", there, kept)
	}
	if got := w.describe(task.TaskARN); got.Attachments[0].Status != "DELETED" {
		t.Errorf("%+v", got.Attachments)
	}
}

// A volume that outlives its task is kept; one that cannot be made, or is not seen in time, is
// why its task stops.
func TestVolumesThatDoNotCome(t *testing.T) {
	for want, tt := range map[string]struct {
		wait   time.Duration
		refuse error
	}{
		"Timeout waiting for EBS volume provisioning to complete.": {wait: 100 * time.Millisecond},
		"EBS volume not attached: no space left on device":         {wait: time.Hour, refuse: errors.New("no space left on device")},
	} {
		t.Run(want, func(t *testing.T) {
			w, disks, _ := withDisks(t, tt.wait)
			disks.set(tt.refuse)
			events := w.s.Watch(t.Context())
			task := must[api.TasksResponse](w, "RunTask", ebs(m{"terminationPolicy": m{"deleteOnTermination": false}})).Tasks[0]
			deadline := time.After(time.Minute)
			got := w.describe(task.TaskARN)
			for ; got.LastStatus != api.StatusStopped; got = w.describe(task.TaskARN) {
				select {
				case <-events:
				case <-deadline:
					t.Fatalf("the task is %s", got.LastStatus)
				}
			}
			if got.StoppedReason != want || got.StopCode != api.StopFailedToStart || got.Attachments[0].Status != "DELETED" {
				t.Errorf("%s: %s, %+v", got.StopCode, got.StoppedReason, got.Attachments)
			}
			if err := w.s.Close(); err != nil { // what is to be done outside is done then
				t.Error(err)
			}
			if there, kept := disks.list(); len(there) != 0 || len(kept) != 1 {
				t.Errorf("there %q, kept %q", there, kept)
			}
			if n := len(w.link.parcels()); n != 0 {
				t.Errorf("%d payloads", n)
			}
		})
	}
}

// A task waits for its interface and its volume, in whatever order they come.
func TestVolumeAndInterface(t *testing.T) {
	w, _, _ := inVPC(t, "10.20.1.1/24", time.Hour)
	w.opts.Disks = &shelf{}
	w.restart()
	w.host(8192, 8192, func(in m) {
		in["attributes"] = append(in["attributes"].([]m), m{"name": "ecs.capability.task-eni"}, m{"name": "ecs.capability.storage.ebs-task-volume-attach"})
	})
	w.define("disk", func(def, _ m) {
		def["networkMode"], def["volumes"] = "awsvpc", []m{{"name": "data", "configuredAtLaunch": true}}
	})
	for _, volumeFirst := range []bool{false, true} {
		request := ebs(nil)
		request["networkConfiguration"] = m{"awsvpcConfiguration": m{"subnets": []string{"any"}}}
		before := len(w.link.parcels())
		task := must[api.TasksResponse](w, "RunTask", request).Tasks[0]
		told := w.link.announcements()
		told = told[len(told)-2:]
		if len(task.Attachments) != 2 || told[0].Attachment != nil || told[1].Attachment == nil {
			t.Fatalf("attachments %+v, announced %+v", task.Attachments, told)
		}
		confirm := []func(){
			func() { w.confirm(task.TaskARN, told[0].Interface.AttachmentARN) }, func() { w.confirmVolume(told[1].Attachment.ARN) },
		}
		if volumeFirst {
			slices.Reverse(confirm)
		}
		confirm[0]()
		if n := len(w.link.parcels()); n != before {
			t.Errorf("%d payloads before everything is there", n-before)
		}
		confirm[1]()
		if n := len(w.link.parcels()); n != before+1 {
			t.Errorf("%d payloads, want 1", n-before)
		}
	}
}

// TestVolumeRefusals: what ECS would refuse, with the field, the value and what would be right.
func TestVolumeRefusals(t *testing.T) {
	w, disks, _ := withDisks(t, time.Hour)
	w.define("plain", nil)
	const ebsField = "managedEBSVolume."
	for _, tt := range []struct {
		change m
		want   string
	}{
		{m{"roleArn": nil}, ebsField + "roleArn must be given: the role with which ECS manages the volume."},
		{m{"sizeInGiB": nil}, ebsField + "sizeInGiB or snapshotId must be given."},
		{m{"sizeInGiB": 0}, ebsField + "sizeInGiB is 0: it must be between 1 and 16384 for volumes of type gp3."},
		{m{"sizeInGiB": 124, "volumeType": "st1"}, ebsField + "sizeInGiB is 124: it must be between 125 and 16384 for volumes of type st1."},
		{m{"sizeInGiB": 1025, "volumeType": "standard"}, ebsField + "sizeInGiB is 1025: it must be between 1 and 1024 for volumes of type standard."},
		{m{"volumeType": "gp4"}, ebsField + "volumeType is 'gp4': it must be gp2, gp3, io1, io2, sc1, st1 or standard."},
		{m{"volumeType": "io2"}, ebsField + "iops must be given for volumes of type io2."},
		{m{"volumeType": "gp2", "iops": 3000}, ebsField + "iops is 3000: volumes of type gp2 take none."},
		{m{"iops": 2999}, ebsField + "iops is 2999: it must be between 3000 and 16000 for volumes of type gp3."},
		{m{"volumeType": "io1", "iops": 100, "throughput": 200}, ebsField + "throughput is 200: volumes of type io1 take none."},
		{m{"throughput": 1001}, ebsField + "throughput is 1001: it must be between 125 and 1000 for volumes of type gp3."},
		{m{"volumeInitializationRate": 100}, ebsField + "volumeInitializationRate must not be given without a snapshotId."},
		{m{"kmsKeyId": "k"}, ebsField + "kmsKeyId must not be given for a volume that is not encrypted."},
		{m{"filesystemType": "btrfs"}, ebsField + "filesystemType is 'btrfs': it must be ext3, ext4, xfs or ntfs."},
		{m{"tagSpecifications": []m{{"resourceType": "task"}}}, ebsField + "tagSpecifications has the resourceType 'task': it must be volume."},
		{m{"tagSpecifications": []m{{"resourceType": "volume", "propagateTags": "ALL"}}}, ebsField + "tagSpecifications has the propagateTags 'ALL': it must be NONE, TASK_DEFINITION or SERVICE."},
	} {
		wantError(t, w.try("RunTask", ebs(tt.change), nil), api.InvalidParameterException, tt.want)
	}
	wantError(t, w.try("RunTask", ebs(m{"snapshotId": "snap-1"}), nil), api.UnsupportedFeatureException, "The local ECS has no snapshots: managedEBSVolume.snapshotId is 'snap-1'.")
	one := m{"name": "data", "managedEBSVolume": m{}}
	for _, tt := range []struct {
		family  string
		volumes []m
		want    string
	}{
		{"disk", nil, "volumeConfigurations must configure the volume 'data', which the task definition marks with configuredAtLaunch."},
		{"disk", []m{one, one}, "volumeConfigurations can have at most 1 item, and has 2."},
		{"disk", []m{{"name": "own"}}, "volumeConfigurations has the volume 'own', which is not marked with configuredAtLaunch in the task definition."},
		{"disk", []m{{"name": "data"}}, "volumeConfigurations has no managedEBSVolume for the volume 'data'."},
		{"plain", []m{one}, "volumeConfigurations has the volume 'data', which is not marked with configuredAtLaunch in the task definition."},
	} {
		wantError(t, w.try("RunTask", m{"taskDefinition": tt.family, "volumeConfigurations": tt.volumes}, nil), api.InvalidParameterException, tt.want)
	}
	for _, good := range []m{
		{"volumeType": "io2", "iops": 256000, "sizeInGiB": 4}, {"volumeType": "gp3", "iops": 3000, "throughput": 125, "encrypted": true, "kmsKeyId": "k"},
		{"tagSpecifications": []m{{"resourceType": "volume", "propagateTags": "TASK_DEFINITION", "tags": []m{{"key": "a", "value": "b"}}}}},
	} {
		must[api.TasksResponse](w, "RunTask", ebs(good))
	}
	if there, _ := disks.list(); len(there) != 3 {
		t.Errorf("volumes %q", there)
	}
	w.opts.Disks = nil
	w.restart()
	wantError(t, w.try("RunTask", ebs(nil), nil), api.UnsupportedFeatureException, "The local ECS makes no EBS volumes: `ecs-local up --volumes FOLDER` does.")
}
