package wire

import (
	"math"
	"slices"

	"ecsagent/agent/task"
)

// readVolumes reads the volumes of a task (docs/spec/01 section 2.9.5). A volume
// that an EBS or S3 Files attachment names is a placeholder, whatever its type:
// the attachment's data takes its place.
func readVolumes(o object, attachments []task.Attachment) []task.Volume {
	attached := make(map[string]task.Volume)
	var order []string
	for _, a := range attachments {
		if a.Type == task.VolumeEBS || a.Type == task.VolumeS3 {
			name := a.Properties["volumeName"]
			if _, twice := attached[name]; !twice {
				order = append(order, name)
			}
			attached[name] = task.Volume{Name: name, Type: a.Type, Properties: a.Properties}
		}
	}
	var out []task.Volume
	for _, v := range o.each("volumes") {
		name := v.required("name")
		if replacement, ok := attached[name]; ok {
			out = append(out, replacement)
			order = slices.DeleteFunc(order, func(n string) bool { return n == name })
			continue
		}
		out = append(out, readVolume(v, name))
	}
	for _, name := range order { // not declared as a volume: mount points may name it all the same
		out = append(out, attached[name])
	}
	return out
}

func readVolume(o object, name string) task.Volume {
	v := task.Volume{Name: name, Type: o.text("type")}
	switch v.Type {
	case "", task.VolumeHost:
		v.Type = task.VolumeHost
		v.Host = &task.HostVolume{SourcePath: config(o, "host").text("sourcePath")}
	case task.VolumeDocker:
		v.Docker = readDockerVolume(config(o, "dockerVolumeConfiguration"))
	case task.VolumeEFS:
		v.EFS = readEFSVolume(config(o, "efsVolumeConfiguration"))
	case task.VolumeFSx:
		c := config(o, "fsxWindowsFileServerVolumeConfiguration")
		auth := c.inner("authorizationConfig")
		v.FSx = &task.FSxVolume{
			FileSystemID: c.text("fileSystemId"), RootDirectory: c.text("rootDirectory"),
			CredentialsParameter: auth.text("credentialsParameter"), Domain: auth.text("domain"),
		}
	default:
		o.reject("type", "host, docker, efs or fsxWindowsFileServer (unrecognized volume type)")
	}
	return v
}

// config returns the member that a volume of its type must have; it may be empty.
func config(o object, name string) object {
	c := o.inner(name)
	if c.members == nil {
		o.reject(name, "an object")
	}
	return c
}

func readDockerVolume(o object) *task.DockerVolume {
	v := &task.DockerVolume{
		Scope: o.text("scope"), Autoprovision: o.flag("autoprovision"), Driver: o.text("driver"),
		DriverOpts: o.textMap("driverOpts"), Labels: o.textMap("labels"),
	}
	switch v.Scope {
	case "":
		v.Scope = "task" // the default of a task definition
	case "task", "shared":
	default:
		o.reject("scope", "task or shared")
	}
	return v
}

func readEFSVolume(o object) *task.EFSVolume {
	auth := o.inner("authorizationConfig")
	return &task.EFSVolume{
		FileSystemID: o.text("fileSystemId"), RootDirectory: o.text("rootDirectory"),
		TransitEncryption:     o.text("transitEncryption"),
		TransitEncryptionPort: o.integer("transitEncryptionPort", 0, math.MaxUint16),
		AccessPointID:         auth.text("accessPointId"), IAM: auth.text("iam"),
	}
}
