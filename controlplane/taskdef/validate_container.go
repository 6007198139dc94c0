package taskdef

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ecsagent/controlplane/api"
)

// minMemory is the least memory of a container or task, in MiB.
const minMemory = 4

// part checks members of one container; its bad adds the container's place.
type part struct {
	*checker
	cd   *api.ContainerDefinition
	path string
}

func (p part) bad(field, format string, args ...any) {
	p.checker.bad(p.path+"."+field, format, args...)
}

func (p part) oneOf(field, value string, words ...string) {
	p.checker.oneOf(p.path+"."+field, value, words...)
}

func (p part) between(field string, value *int, low, high int) {
	p.checker.between(p.path+"."+field, value, low, high)
}

func (c *checker) container(i int) {
	p := part{c, &c.def.ContainerDefinitions[i], fmt.Sprintf("containerDefinitions[%d]", i)}
	p.identity()
	p.resources()
	p.environment()
	p.secrets()
	p.ports()
	p.mounts()
	p.dependencies()
	p.network()
	p.health()
	p.limits()
	p.logging()
	p.firelens()
	p.linux()
}

func (p part) identity() {
	switch {
	case p.cd.Name == "":
		p.bad("name", "Container.name should not be null or empty.")
	case !nameForm.MatchString(p.cd.Name):
		p.bad("name", "Container.name contains invalid characters.")
	}
	switch {
	case p.cd.Image == "":
		p.bad("image", "Container.image should not be null or empty.")
	case !imageForm.MatchString(p.cd.Image):
		p.bad("image", "Container.image contains invalid characters.")
	}
	if r := p.cd.RepositoryCredentials; r != nil && r.CredentialsParameter == "" {
		p.bad("repositoryCredentials.credentialsParameter", "credentialsParameter should not be null or empty.")
	}
	p.oneOf("versionConsistency", p.cd.VersionConsistency, "enabled", "disabled")
}

func (p part) resources() {
	cd := p.cd
	if cd.CPU < 0 || cd.CPU > maxTaskCPU {
		p.bad("cpu", "Invalid 'cpu' setting for container '%s'.", clip(cd.Name))
	}
	p.amount("memory", cd.Memory)
	p.amount("memoryReservation", cd.MemoryReservation)
	switch {
	case cd.Memory == 0 && cd.MemoryReservation == 0 && p.def.Memory == "":
		p.bad("memory", "Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", clip(cd.Name))
	case cd.Memory > 0 && cd.MemoryReservation > cd.Memory:
		p.bad("memoryReservation", "Invalid setting for container '%s'. 'memory' must be greater than or equal to 'memoryReservation'.", clip(cd.Name))
	}
	if p.memory > 0 && cd.Memory > p.memory {
		p.bad("memory", "Invalid 'memory' setting for container '%s': it is greater than the task's.", clip(cd.Name))
	}
	for i, r := range cd.ResourceRequirements {
		field := fmt.Sprintf("resourceRequirements[%d]", i)
		p.oneOf(field+".type", r.Type, "GPU", "InferenceAccelerator")
		if n, err := strconv.Atoi(r.Value); r.Type == "GPU" && (err != nil || n < 1 || n > 64) {
			p.bad(field+".value", "Invalid GPU count '%s'.", clip(r.Value))
		}
	}
	if r := cd.RestartPolicy; r != nil {
		p.between("restartPolicy.restartAttemptPeriod", r.RestartAttemptPeriod, 60, 1800)
		if len(r.IgnoredExitCodes) > 50 {
			p.bad("restartPolicy.ignoredExitCodes", "At most 50 exit codes can be ignored.")
		}
	}
	const day = 24 * 60 * 60
	p.between("startTimeout", cd.StartTimeout, 0, day)
	p.between("stopTimeout", cd.StopTimeout, 0, day)
}

// amount checks an optional number of MiB.
func (p part) amount(field string, n int) {
	if n != 0 && n < minMemory || n > 1<<30 {
		p.bad(field, "Invalid '%s' setting for container '%s': it must be at least %d MiB.", field, clip(p.cd.Name), minMemory)
	}
}

func (p part) environment() {
	for i, e := range p.cd.Environment {
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") || strings.Contains(e.Value, "\x00") {
			p.bad(fmt.Sprintf("environment[%d].name", i), "Invalid environment variable name '%s'.", clip(e.Name))
		}
	}
	if len(p.cd.EnvironmentFiles) > 10 {
		p.bad("environmentFiles", "At most 10 environment files can be given.")
	}
	for i, f := range p.cd.EnvironmentFiles {
		field := fmt.Sprintf("environmentFiles[%d]", i)
		if f.Type != "s3" {
			p.bad(field+".type", "Invalid value '%s'. Valid values: s3.", clip(f.Type))
		}
		if !strings.HasPrefix(f.Value, "arn:") || !strings.Contains(f.Value, ":s3:::") {
			p.bad(field+".value", "Invalid arn syntax '%s'.", clip(f.Value))
		}
	}
	if len(p.cd.EnvironmentFiles) > 0 && p.def.ExecutionRoleARN == "" {
		p.bad("environmentFiles", "When you are specifying environment files, you must also specify a value for 'executionRoleArn'.")
	}
}

func (p part) secrets() {
	seen := map[string]bool{}
	for _, e := range p.cd.Environment {
		seen[e.Name] = true
	}
	for i, s := range p.cd.Secrets {
		field := fmt.Sprintf("secrets[%d]", i)
		p.secret(field, s)
		if seen[s.Name] {
			p.bad(field+".name", "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '%s'.", clip(s.Name))
		}
		seen[s.Name] = true
	}
	if l := p.cd.LogConfiguration; l != nil {
		for i, s := range l.SecretOptions {
			p.secret(fmt.Sprintf("logConfiguration.secretOptions[%d]", i), s)
		}
	}
}

func (p part) secret(field string, s api.Secret) {
	if s.Name == "" {
		p.bad(field+".name", "Secret name should not be null or empty.")
	}
	if s.ValueFrom == "" {
		p.bad(field+".valueFrom", "Secret valueFrom should not be null or empty.")
	}
	if p.def.ExecutionRoleARN == "" {
		p.bad(field, "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
	}
}

func (p part) mounts() {
	paths := map[string]bool{}
	for i, m := range p.cd.MountPoints {
		field := fmt.Sprintf("mountPoints[%d]", i)
		if !p.volumes[m.SourceVolume] {
			p.bad(field+".sourceVolume", "Unknown volume '%s'.", clip(m.SourceVolume))
		}
		switch {
		case m.ContainerPath == "":
			p.bad(field+".containerPath", "Invalid container path: it should not be null or empty.")
		case paths[m.ContainerPath]:
			p.bad(field+".containerPath", "Duplicate mount point '%s'.", clip(m.ContainerPath))
		}
		paths[m.ContainerPath] = true
	}
	for i, v := range p.cd.VolumesFrom {
		field := fmt.Sprintf("volumesFrom[%d].sourceContainer", i)
		switch {
		case p.containers[v.SourceContainer] == nil:
			p.bad(field, "Unknown container '%s'.", clip(v.SourceContainer))
		case v.SourceContainer == p.cd.Name:
			p.bad(field, "Container '%s' cannot take volumes from itself.", clip(p.cd.Name))
		}
	}
}

func (p part) health() {
	h := p.cd.HealthCheck
	if h == nil {
		return
	}
	if len(h.Command) < 2 || h.Command[0] != "CMD" && h.Command[0] != "CMD-SHELL" {
		p.bad("healthCheck.command", "Health check command must begin with CMD or CMD-SHELL, followed by the command.")
	}
	p.between("healthCheck.interval", h.Interval, 5, 300)
	p.between("healthCheck.timeout", h.Timeout, 2, 60)
	p.between("healthCheck.retries", h.Retries, 1, 10)
	p.between("healthCheck.startPeriod", h.StartPeriod, 0, 300)
}

var ulimits = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
	"rtprio", "rttime", "sigpending", "stack"}

func (p part) limits() {
	seen := map[string]bool{}
	for i, u := range p.cd.Ulimits {
		field := fmt.Sprintf("ulimits[%d]", i)
		switch {
		case !slices.Contains(ulimits, u.Name):
			p.bad(field+".name", "Invalid ulimit '%s'. Valid values: %s.", clip(u.Name), strings.Join(ulimits, ", "))
		case seen[u.Name]:
			p.bad(field+".name", "Duplicate ulimit '%s'.", u.Name)
		}
		if u.SoftLimit < -1 || u.HardLimit < -1 || u.HardLimit != -1 && (u.SoftLimit == -1 || u.SoftLimit > u.HardLimit) {
			p.bad(field+".softLimit", "The soft limit of ulimit '%s' must not be greater than the hard limit.", clip(u.Name))
		}
		seen[u.Name] = true
	}
	for i, s := range p.cd.SystemControls {
		field := fmt.Sprintf("systemControls[%d].namespace", i)
		switch {
		case s.Namespace == "":
			p.bad(field, "System control namespace should not be null or empty.")
		case p.def.NetworkMode == api.NetworkHost && strings.HasPrefix(s.Namespace, "net."):
			p.bad(field, "System control '%s' is not supported when networkMode=host.", clip(s.Namespace))
		case p.def.IPCMode == "host" && (strings.HasPrefix(s.Namespace, "kernel.") || strings.HasPrefix(s.Namespace, "fs.")):
			p.bad(field, "System control '%s' is not supported when ipcMode=host.", clip(s.Namespace))
		}
	}
	for i, h := range p.cd.ExtraHosts {
		field := fmt.Sprintf("extraHosts[%d]", i)
		if h.Hostname == "" {
			p.bad(field+".hostname", "Hostname should not be null or empty.")
		}
		if _, err := netip.ParseAddr(h.IPAddress); err != nil && h.IPAddress != "host-gateway" {
			p.bad(field+".ipAddress", "Invalid IP address '%s'.", clip(h.IPAddress))
		}
	}
}

func (p part) linux() {
	l := p.cd.LinuxParameters
	if l == nil {
		return
	}
	p.between("linuxParameters.sharedMemorySize", l.SharedMemorySize, 1, 1<<30)
	p.between("linuxParameters.maxSwap", l.MaxSwap, 0, 1<<30)
	p.between("linuxParameters.swappiness", l.Swappiness, 0, 100)
	for i, t := range l.Tmpfs {
		field := fmt.Sprintf("linuxParameters.tmpfs[%d]", i)
		if t.ContainerPath == "" {
			p.bad(field+".containerPath", "Tmpfs container path should not be null or empty.")
		}
		if t.Size < 1 {
			p.bad(field+".size", "Tmpfs size must be at least 1 MiB.")
		}
	}
	for i, d := range l.Devices {
		field := fmt.Sprintf("linuxParameters.devices[%d]", i)
		if d.HostPath == "" {
			p.bad(field+".hostPath", "Device host path should not be null or empty.")
		}
		for _, word := range d.Permissions {
			p.oneOf(field+".permissions", word, "read", "write", "mknod")
		}
	}
}
