package dockerspec

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// VolumePlugin is the driver of Docker that mounts file systems with the helpers of
// amazon-efs-utils (docs/spec/03 section 5.10).
const VolumePlugin = "amazon-ecs-volume-plugin"

// Properties of an attachment that is a file system of S3 (docs/spec/02 section 4.9).
const (
	s3Volume      = "volumeId"
	s3Root        = "s3FilesRootDirectory"
	s3Port        = "s3FilesTransitEncryptionPort"
	s3AccessPoint = "s3FilesAccessPointId"
)

// nfsOptions are those with which EFS is mounted without the plugin.
const nfsOptions = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport"

// EFS is how file systems of EFS reach a host.
type EFS struct {
	// Plugin is whether Docker has the volume plugin. Without it Docker's own driver
	// mounts EFS as what it is underneath, NFS.
	Plugin bool
	// Address is the host name of a file system.
	Address func(fileSystem string) string
}

// Volume maps a volume of a task that Docker manages to the request that makes it. space
// is the path of the task's network namespace; empty where the task has none of its own.
// Its errors are *task.Error.
func (b *Builder) Volume(spec *task.Spec, i int, st *task.State, space string) (runtime.VolumeRequest, error) {
	return Volume(spec, i, st, space, b.env)
}

// Volume is Builder.Volume.
func Volume(spec *task.Spec, i int, st *task.State, space string, env Env) (runtime.VolumeRequest, error) {
	v, request := &spec.Volumes[i], runtime.VolumeRequest{Driver: "local"}
	if i < len(st.Volumes) {
		request.Name = st.Volumes[i].DockerName
	}
	m := mounting{credentials: spec.CredentialsID, space: space}
	switch {
	case env.OS == "windows" && (v.EFS != nil || v.Type == task.VolumeS3):
		return request, volumeFailure(v.Name, "file systems of type "+v.Type+" are for tasks on Linux")
	case v.Docker != nil:
		request.Driver, request.DriverOpts, request.Labels = cmp.Or(v.Docker.Driver, request.Driver), v.Docker.DriverOpts, v.Docker.Labels
		return request, nil
	case v.EFS != nil:
		m.kind, m.device, m.root = task.VolumeEFS, v.EFS.FileSystemID, v.EFS.RootDirectory
		m.tls, m.iam = enabled(v.EFS.TransitEncryption), enabled(v.EFS.IAM)
		if v.EFS.TransitEncryptionPort != 0 {
			m.port = strconv.FormatInt(v.EFS.TransitEncryptionPort, 10)
		}
		m.accessPoint = v.EFS.AccessPointID
		if !env.EFS.Plugin {
			opts, err := m.nfs(v.Name, env.EFS.Address)
			request.DriverOpts = opts
			return request, err
		}
	case v.Type == task.VolumeS3:
		m.kind, m.device, m.root, m.port, m.accessPoint = task.VolumeS3, v.Properties[s3Volume], v.Properties[s3Root], v.Properties[s3Port], v.Properties[s3AccessPoint]
		m.tls, m.iam = true, true
	default:
		return request, nil
	}
	opts, err := m.plugin(v.Name)
	request.Driver, request.DriverOpts = VolumePlugin, opts
	return request, err
}

func enabled(word string) bool { return word == "ENABLED" }

// mounting is a file system that a task mounts.
type mounting struct {
	kind, device, root string
	tls                bool
	port               string // of the tunnel; empty: the helper chooses
	iam                bool
	accessPoint        string
	credentials        string // id of the task role's
	space              string
}

// plugin are the options for the plugin, in the order of docs/spec/02 section 4.9.
func (m *mounting) plugin(volume string) (map[string]string, error) {
	if m.device == "" {
		return nil, volumeFailure(volume, "it names no file system")
	}
	var o []string
	if m.tls {
		o = append(o, "tls")
	}
	if m.port != "" {
		o = append(o, "tlsport="+m.port)
	}
	if m.iam {
		if m.credentials == "" {
			return nil, volumeFailure(volume, "it is used with the role of the task, and the task has none")
		}
		o = append(o, "iam", "awscredsuri=/v2/credentials/"+m.credentials)
	}
	if m.accessPoint != "" {
		o = append(o, "accesspoint="+m.accessPoint)
	}
	if m.space != "" {
		o = append(o, "netns="+m.space)
	}
	device := m.device
	if m.root != "" {
		device += ":" + m.root
	}
	opts := map[string]string{"type": m.kind, "device": device}
	if len(o) > 0 {
		opts["o"] = strings.Join(o, ",")
	}
	return opts, nil
}

// nfs are the options for Docker's own driver. What it cannot do it must not leave out:
// a file system that is to be encrypted would not be.
func (m *mounting) nfs(volume string, address func(string) string) (map[string]string, error) {
	switch {
	case m.device == "":
		return nil, volumeFailure(volume, "it names no file system")
	case m.tls || m.iam || m.accessPoint != "":
		return nil, volumeFailure(volume, "transit encryption, IAM and access points need the volume plugin "+VolumePlugin+", which Docker does not have")
	}
	host := m.device
	if address != nil {
		host = address(m.device)
	}
	return map[string]string{
		"type": "nfs", "device": ":" + cmp.Or(m.root, "/"), "o": "addr=" + host + "," + nfsOptions,
	}, nil
}

func volumeFailure(volume, text string) error {
	return &task.Error{Name: "VolumeError", Message: fmt.Sprintf("volume %s: %s", volume, text)}
}
