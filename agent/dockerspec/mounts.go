package dockerspec

import (
	"crypto/sha256"
	"encoding/binary"
	"path"
	"slices"
	"strconv"
	"strings"

	"ecsagent/agent/task"
)

// Where EBS volumes of tasks are mounted on the host (docs/spec/02 section 4.9).
const (
	ebsMounts        = "/mnt/ecs/ebs/"
	ebsMountsWindows = `C:\ProgramData\Amazon\ECS\ebs\`
	ebsHostPath      = "sourceVolumeHostPath"
)

// The supplementary groups of containers that mount EBS volumes.
const (
	ebsFirstGroup = 900000
	ebsGroups     = 100000
)

// links are <docker name>:<alias>; the alias defaults to the container's name.
func (b *build) links() ([]string, error) {
	links := make([]string, 0, len(b.c.Links))
	for _, link := range b.c.Links {
		name, alias, ok := strings.Cut(link, ":")
		if !ok {
			alias = name
		}
		target := b.dockerName(name)
		if target == "" {
			return nil, failure(nameHostConfig, "Link target not available: %s", name)
		}
		links = append(links, target+":"+alias)
	}
	return links, nil
}

func (b *build) volumesFrom() ([]string, error) {
	from := make([]string, 0, len(b.c.VolumesFrom))
	for _, v := range b.c.VolumesFrom {
		source := b.dockerName(v.SourceContainer)
		if source == "" {
			return nil, failure(nameHostConfig, "Volume target not available: %s", v.SourceContainer)
		}
		from = append(from, source+readOnly(v.ReadOnly))
	}
	return from, nil
}

// dockerName is the name of another container of the task, empty when there is none.
func (b *build) dockerName(container string) string {
	if i := b.spec.Index(container); i >= 0 {
		return b.st.Containers[i].DockerName
	}
	return ""
}

func readOnly(is bool) string {
	if is {
		return ":ro"
	}
	return ""
}

// binds are the container's mount points.
func (b *build) binds() ([]string, error) {
	binds := make([]string, 0, len(b.c.MountPoints))
	for _, m := range b.c.MountPoints {
		i := slices.IndexFunc(b.spec.Volumes, func(v task.Volume) bool { return v.Name == m.SourceVolume })
		if i < 0 {
			return nil, failure(nameHostConfig, "Invalid volume referenced: %s", m.SourceVolume)
		}
		source, target := b.source(i), m.ContainerPath
		if b.windows() {
			target = windowsPath(target)
		}
		if source == "" || target == "" {
			return nil, failure(nameHostConfig, "Unable to resolve volume mounts; invalid path: %s %s; %s -> %s",
				b.c.Name, m.SourceVolume, source, target)
		}
		binds = append(binds, source+":"+target+readOnly(m.ReadOnly))
	}
	return binds, nil
}

// source is what is mounted for a volume: a path of the host or a Docker volume.
func (b *build) source(i int) string {
	v := &b.spec.Volumes[i]
	if source := b.in.VolumeSources[v.Name]; source != "" {
		return source
	}
	switch {
	case v.Type == task.VolumeHost && v.Host != nil && v.Host.SourcePath != "" && b.windows():
		return windowsPath(v.Host.SourcePath)
	case v.Type == task.VolumeHost && v.Host != nil && v.Host.SourcePath != "":
		return v.Host.SourcePath
	case v.Type == task.VolumeEBS && v.Properties[ebsHostPath] == "":
		return ""
	case v.Type == task.VolumeEBS && b.windows():
		return ebsMountsWindows + v.Properties[ebsHostPath]
	case v.Type == task.VolumeEBS:
		return ebsMounts + v.Properties[ebsHostPath]
	case i < len(b.st.Volumes) && b.st.Volumes[i].DockerName != "":
		return b.st.Volumes[i].DockerName
	case Shared(v):
		return v.Name
	}
	return ""
}

// windowsPath is a path of Windows in lower case and without detours, for Docker to
// find two spellings of one path the same (docs/spec/02 section 1.8).
func windowsPath(name string) string {
	if name == "" {
		return ""
	}
	name = strings.ToLower(strings.ReplaceAll(name, "/", `\`))
	if strings.HasPrefix(name, `\\`) { // of a device or a share
		return name
	}
	clean := strings.ReplaceAll(path.Clean(strings.ReplaceAll(name, `\`, "/")), "/", `\`)
	if strings.HasSuffix(clean, ":") { // the root of a drive
		clean += `\`
	}
	return clean
}

// EBSGroup is the group of what is in an EBS volume, by its folder on the host.
func EBSGroup(sourceVolumeHostPath string) int {
	sum := sha256.Sum256([]byte(sourceVolumeHostPath))
	return ebsFirstGroup + int(binary.BigEndian.Uint32(sum[len(sum)-4:])%ebsGroups)
}

// supplementaryGroups lets a container write to the EBS volumes that it mounts:
// their files belong to a group that is derived from the volume's path.
func (b *build) supplementaryGroups() {
	if b.windows() {
		return
	}
	for _, m := range b.c.MountPoints {
		for _, v := range b.spec.Volumes {
			path := v.Properties[ebsHostPath]
			if v.Name != m.SourceVolume || v.Type != task.VolumeEBS || path == "" {
				continue
			}
			group := strconv.Itoa(EBSGroup(path))
			if !slices.Contains(b.host.GroupAdd, group) {
				b.host.GroupAdd = append(b.host.GroupAdd, group)
			}
		}
	}
}
