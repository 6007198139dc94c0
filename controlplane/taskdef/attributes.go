package taskdef

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"ecsagent/controlplane/api"
)

// Prefixes of capability attributes (docs/spec/01 section 1.5).
const (
	legacy     = "com.amazonaws.ecs.capability."
	capability = "ecs.capability."
	remoteAPI  = legacy + "docker-remote-api."
)

// ECRImage matches images of Amazon ECR; its groups are the registry's account
// and region.
var ECRImage = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)/`)

// required collects attribute names.
type required map[string]string

func (r required) need(names ...string) {
	for _, n := range names {
		r[n] = ""
	}
}

// RequiredAttributes derives the attributes that an instance must have to run the
// task, sorted by name.
func RequiredAttributes(d *api.TaskDefinition) []api.Attribute {
	r := required{}
	r.task(d)
	for i := range d.Volumes {
		r.volume(&d.Volumes[i])
	}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		r.container(c, d)
		r.limits(c)
		if c.LogConfiguration != nil {
			r.logging(c.LogConfiguration, d)
		}
		r.secrets(c)
	}
	list := make([]api.Attribute, 0, len(r))
	for name, value := range r {
		list = append(list, api.Attribute{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b api.Attribute) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (r required) task(d *api.TaskDefinition) {
	if d.TaskRoleARN != "" {
		r.need(legacy+"task-iam-role", remoteAPI+"1.17")
		if d.NetworkMode == api.NetworkHost {
			r.need(legacy + "task-iam-role-network-host")
		}
	}
	if d.NetworkMode == api.NetworkVPC {
		r.need(capability + "task-eni")
	}
	if d.PIDMode != "" || d.IPCMode != "" {
		r.need(capability + "pid-ipc-namespace-sharing")
	}
	if d.ProxyConfiguration != nil {
		r.need(capability + "aws-appmesh")
	}
	if len(d.InferenceAccelerators) > 0 {
		r.need(capability + "task-eia")
	}
	if isTrue(d.EnableFaultInjection) {
		r.need(capability + "fault-injection")
	}
	if p := d.RuntimePlatform; p != nil && p.OperatingSystemFamily != "" {
		family := "linux"
		if p.OperatingSystemFamily != "LINUX" {
			family = "windows"
		}
		r["ecs.os-type"] = family
	}
}

func (r required) volume(v *api.Volume) {
	switch {
	case v.Docker != nil:
		r.need(remoteAPI+"1.25", capability+"docker-plugin."+strings.ReplaceAll(v.Docker.Driver, ":", "."))
	case v.EFS != nil:
		r.need(remoteAPI+"1.25", capability+"efs")
		if v.EFS.TransitEncryption == "ENABLED" || v.EFS.AuthorizationConfig != nil {
			r.need(capability + "efsAuth")
		}
	case v.S3Files != nil:
		r.need(remoteAPI+"1.25", capability+"storage.s3-files")
	case v.FSx != nil:
		r.need(capability + "fsxWindowsFileServer")
	case isTrue(v.ConfiguredAtLaunch):
		r.need(capability + "storage.ebs-task-volume-attach")
	}
}

func (r required) container(c *api.ContainerDefinition, d *api.TaskDefinition) {
	if ECRImage.MatchString(c.Image) {
		r.need(legacy + "ecr-auth")
		if d.ExecutionRoleARN != "" {
			r.need(capability + "execution-role-ecr-pull")
		}
	}
	if c.RepositoryCredentials != nil {
		r.need(capability + "private-registry-authentication.secretsmanager")
	}
	if isTrue(c.Privileged) {
		r.need(legacy + "privileged-container")
	}
	if isTrue(c.ReadonlyRootFilesystem) {
		r.need(remoteAPI + "1.17")
	}
	if len(c.DependsOn) > 0 || c.StartTimeout != nil || c.StopTimeout != nil {
		r.need(capability + "container-ordering")
	}
	if c.RestartPolicy != nil && c.RestartPolicy.Enabled {
		r.need(capability + "container-restart-policy")
	}
	if h := c.HealthCheck; h != nil {
		r.need(capability+"container-health-check", remoteAPI+"1.24")
		if h.StartPeriod != nil {
			r.need(remoteAPI + "1.29")
		}
	}
	if len(c.EnvironmentFiles) > 0 {
		r.need(capability + "env-files.s3")
	}
	if f := c.FirelensConfiguration; f != nil {
		r.need(capability + "firelens." + f.Type)
		if kind := f.Options["config-file-type"]; kind != "" {
			r.need(capability + "firelens.options.config." + kind)
		}
	}
	if slices.ContainsFunc(c.PortMappings, func(p api.PortMapping) bool { return p.ContainerPortRange != "" }) {
		r.need(capability + "network.container-port-range")
	}
	for _, o := range c.DockerSecurityOptions {
		switch {
		case strings.HasPrefix(o, "label"):
			r.need(legacy + "selinux")
		case strings.HasPrefix(o, "apparmor"):
			r.need(legacy + "apparmor")
		case strings.HasPrefix(o, "credentialspec"):
			r.need(capability + "gmsa")
		}
	}
	for _, s := range c.CredentialSpecs {
		if strings.HasPrefix(s, "credentialspecdomainless") {
			r.need(capability + "gmsa-domainless")
		} else {
			r.need(capability + "gmsa")
		}
	}
}

func (r required) limits(c *api.ContainerDefinition) {
	if c.MemoryReservation > 0 {
		r.need(remoteAPI + "1.21")
	}
	if len(c.Ulimits) > 0 {
		r.need(remoteAPI + "1.18")
	}
	l := c.LinuxParameters
	if l == nil {
		return
	}
	if l.SharedMemorySize != nil || len(l.Tmpfs) > 0 {
		r.need(remoteAPI + "1.22")
	}
	if isTrue(l.InitProcessEnabled) {
		r.need(remoteAPI + "1.25")
	}
	if l.MaxSwap != nil {
		r.need(remoteAPI + "1.20")
	}
}

func (r required) logging(l *api.LogConfiguration, d *api.TaskDefinition) {
	r.need(remoteAPI+"1.18", legacy+"logging-driver."+l.LogDriver)
	switch l.LogDriver {
	case "awslogs":
		r.need(remoteAPI + "1.19")
		if d.ExecutionRoleARN != "" {
			r.need(capability + "execution-role-awslogs")
		}
	case "awsfirelens":
		if l.Options["log-driver-buffer-limit"] != "" {
			r.need(capability + "logging-driver.awsfirelens.log-driver-buffer-limit")
		}
	}
	for _, s := range l.SecretOptions {
		r.need(capability + "secrets." + SecretProvider(s.ValueFrom) + ".bootstrap.log-driver")
	}
}

func (r required) secrets(c *api.ContainerDefinition) {
	for _, s := range c.Secrets {
		r.need(capability + "secrets." + SecretProvider(s.ValueFrom) + ".environment-variables")
	}
}

// SecretProvider tells from a reference whether the value is in Secrets Manager,
// "asm", or in the Systems Manager parameter store, "ssm".
func SecretProvider(valueFrom string) string {
	if strings.HasPrefix(valueFrom, "arn:") && strings.Contains(valueFrom, ":secretsmanager:") {
		return "asm"
	}
	return "ssm"
}

// Compatibilities returns the launch types on which the definition could run.
func Compatibilities(d *api.TaskDefinition) []string {
	var list []string
	if d.NetworkMode != api.NetworkVPC && d.ProxyConfiguration == nil && len(d.InferenceAccelerators) == 0 &&
		!slices.ContainsFunc(d.Volumes, func(v api.Volume) bool { return v.EFS != nil || v.FSx != nil || v.S3Files != nil }) {
		list = append(list, api.LaunchExternal)
	}
	list = append(list, api.LaunchEC2)
	cpu, _ := ParseCPU(d.CPU)
	memory, _ := ParseMemory(d.Memory)
	if d.NetworkMode == api.NetworkVPC && fargateSize(cpu, memory) {
		list = append(list, api.LaunchFargate)
	}
	return list
}

func isTrue(b *bool) bool { return b != nil && *b }
