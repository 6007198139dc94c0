package dockerspec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

func TestVolume(t *testing.T) {
	efs := func(v task.EFSVolume) task.Volume { return task.Volume{Name: "v", Type: task.VolumeEFS, EFS: &v} }
	s3 := func(properties map[string]string) task.Volume {
		return task.Volume{Name: "v", Type: task.VolumeS3, Properties: properties}
	}
	const nfs = ",nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport"
	full := task.EFSVolume{FileSystemID: "fs-1", RootDirectory: "/data", TransitEncryption: "ENABLED", TransitEncryptionPort: 20049,
		IAM: "ENABLED", AccessPointID: "fsap-1"}
	for name, c := range map[string]struct {
		volume  task.Volume
		role    string
		space   string
		without bool // the plugin
		os      string
		driver  string
		opts    map[string]string
		labels  map[string]string
		err     string
	}{
		"empty": {volume: task.Volume{Name: "v", Type: task.VolumeHost, Host: &task.HostVolume{}}, driver: "local"},
		"docker": {
			volume: task.Volume{Name: "v", Type: task.VolumeDocker, Docker: &task.DockerVolume{
				Driver: "x", DriverOpts: map[string]string{"a": "b"}, Labels: map[string]string{"c": "d"}}},
			driver: "x", opts: map[string]string{"a": "b"}, labels: map[string]string{"c": "d"},
		},
		"docker without driver": {volume: task.Volume{Name: "v", Type: task.VolumeDocker, Docker: &task.DockerVolume{}}, driver: "local"},
		"plain": {
			volume: efs(task.EFSVolume{FileSystemID: "fs-1", RootDirectory: "/", TransitEncryption: "DISABLED"}),
			driver: VolumePlugin, opts: map[string]string{"type": "efs", "device": "fs-1:/"},
		},
		"without root": {
			volume: efs(task.EFSVolume{FileSystemID: "fs-1", TransitEncryption: "ENABLED"}),
			driver: VolumePlugin, opts: map[string]string{"type": "efs", "device": "fs-1", "o": "tls"},
		},
		"everything": {
			volume: efs(full), role: "cred", space: "/proc/7/ns/net", driver: VolumePlugin,
			opts: map[string]string{"type": "efs", "device": "fs-1:/data",
				"o": "tls,tlsport=20049,iam,awscredsuri=/v2/credentials/cred,accesspoint=fsap-1,netns=/proc/7/ns/net"},
		},
		"no role":        {volume: efs(full), err: "volume v: it is used with the role of the task, and the task has none"},
		"no file system": {volume: efs(task.EFSVolume{}), err: "volume v: it names no file system"},
		"nfs": {
			volume: efs(task.EFSVolume{FileSystemID: "fs-1", RootDirectory: "/data"}), space: "/proc/7/ns/net", without: true, driver: "local",
			opts: map[string]string{"type": "nfs", "device": ":/data", "o": "addr=fs-1.efs.test" + nfs},
		},
		"nfs without root": {
			volume: efs(task.EFSVolume{FileSystemID: "fs-1"}), without: true, driver: "local",
			opts: map[string]string{"type": "nfs", "device": ":/", "o": "addr=fs-1.efs.test" + nfs},
		},
		"encryption without the plugin": {
			volume: efs(task.EFSVolume{FileSystemID: "fs-1", TransitEncryption: "ENABLED"}), without: true,
			err: "volume v: transit encryption, IAM and access points need the volume plugin amazon-ecs-volume-plugin, which Docker does not have",
		},
		"access point without the plugin": {volume: efs(task.EFSVolume{FileSystemID: "fs-1", AccessPointID: "a"}), without: true, err: "need the volume plugin"},
		"s3": {
			volume: s3(map[string]string{"volumeId": "fs-2", "s3FilesRootDirectory": "/d", "s3FilesTransitEncryptionPort": "5", "s3FilesAccessPointId": "fsap-2"}),
			role:   "cred", without: true, driver: VolumePlugin,
			opts: map[string]string{"type": "s3files", "device": "fs-2:/d", "o": "tls,tlsport=5,iam,awscredsuri=/v2/credentials/cred,accesspoint=fsap-2"},
		},
		"windows":         {volume: efs(task.EFSVolume{FileSystemID: "fs-1"}), os: "windows", err: "volume v: file systems of type efs are for tasks on Linux"},
		"s3 without role": {volume: s3(map[string]string{"volumeId": "fs-2"}), err: "the task has none"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &task.Spec{Volumes: []task.Volume{c.volume}, CredentialsID: c.role}
			st := &task.State{Volumes: []task.VolumeState{{DockerName: "ecs-f-1-v-00"}}}
			env := Env{OS: c.os, EFS: EFS{Plugin: !c.without, Address: func(fs string) string { return fs + ".efs.test" }}}
			got, err := Volume(spec, 0, st, c.space, env)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %s", err, c.err)
				}
				return
			}
			want := runtime.VolumeRequest{Name: "ecs-f-1-v-00", Driver: c.driver, DriverOpts: c.opts, Labels: c.labels}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
