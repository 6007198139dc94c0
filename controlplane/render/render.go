package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/taskdef"
)

// ExecutionEnv is the value of AWS_EXECUTION_ENV in every container.
const ExecutionEnv = "AWS_ECS_EC2"

// sessionLimit is how many sessions a container's agent of ECS Exec may have at once.
const sessionLimit = "2"

// dockerVersion is the API version of a container that needs nothing newer.
const dockerVersion = "1.24"

// Input is what a task is rendered from. The definition is complete, as
// taskdef.Complete makes it.
type Input struct {
	TaskARN    string
	ClusterARN string
	Region     string
	AccountID  string
	LaunchType string
	Group      string
	Definition *api.TaskDefinition
	Overrides  *api.TaskOverride
	// ContainerARNs and GPUs line up with the definition's containers.
	ContainerARNs []string
	GPUs          [][]string
	// ExecuteCommand gives every container an agent of ECS Exec.
	ExecuteCommand bool
}

// Render makes the payload's task.
func Render(in Input) (*Task, error) {
	d := in.Definition
	t := &Task{
		ARN: in.TaskARN, TaskClusterARN: in.ClusterARN, Family: d.Family, Version: strconv.Itoa(d.Revision),
		Group: in.Group, LaunchType: in.LaunchType, NetworkMode: d.NetworkMode, PIDMode: d.PIDMode, IPCMode: d.IPCMode,
		TaskDefinitionAccountID: in.AccountID, Volumes: []Volume{},
		EnableFaultInjection: isTrue(d.EnableFaultInjection),
	}
	if t.NetworkMode == "" {
		t.NetworkMode = api.NetworkBridge
	}
	if p := d.ProxyConfiguration; p != nil {
		t.Proxy = &Proxy{Type: "APPMESH", ContainerName: p.ContainerName, Properties: make(map[string]string)}
		for _, kv := range p.Properties {
			t.Proxy.Properties[kv.Name] = kv.Value
		}
	}
	cpu, memory, err := Size(d, in.Overrides)
	if err != nil {
		return nil, err
	}
	t.CPU, t.Memory = float64(cpu)/1024, memory
	for i := range d.Volumes {
		v, err := volume(&d.Volumes[i])
		if err != nil {
			return nil, err
		}
		t.Volumes = append(t.Volumes, v)
	}
	for i := range d.ContainerDefinitions {
		cd := Override(&d.ContainerDefinitions[i], in.Overrides)
		c, err := container(&cd, t, &in)
		if err != nil {
			return nil, fmt.Errorf("render container %q: %w", cd.Name, err)
		}
		c.ContainerARN = in.ContainerARNs[i]
		if o := find(in.Overrides, cd.Name); o != nil && len(o.Command) > 0 {
			c.Command = slices.Clone(d.ContainerDefinitions[i].Command)
			b, err := json.Marshal(map[string][]string{"command": o.Command})
			if err != nil {
				return nil, fmt.Errorf("render command of container %q: %w", cd.Name, err)
			}
			c.Overrides = string(b)
		}
		if c.Command == nil {
			c.Command = []string{}
		}
		if in.ExecuteCommand {
			c.ManagedAgents = []ManagedAgent{{Name: api.ExecuteCommandAgent, Properties: map[string]string{"sessionLimit": sessionLimit}}}
		}
		t.Containers = append(t.Containers, c)
		if i < len(in.GPUs) {
			for _, id := range in.GPUs[i] {
				t.Associations = append(t.Associations, Association{Containers: []string{cd.Name}, Name: id, Type: "gpu",
					Content: AssociationContent{Encoding: "base64", Value: ""}})
			}
		}
	}
	return t, nil
}

// Size returns the task's own cpu, in CPU units, and memory, in MiB; 0 where the
// containers' values count.
func Size(d *api.TaskDefinition, o *api.TaskOverride) (cpu, memory int, err error) {
	cpuText, memoryText := d.CPU, d.Memory
	if o != nil && o.CPU != "" {
		cpuText = o.CPU
	}
	if o != nil && o.Memory != "" {
		memoryText = o.Memory
	}
	if cpu, err = taskdef.ParseCPU(cpuText); err != nil {
		return 0, 0, err
	}
	memory, err = taskdef.ParseMemory(memoryText)
	return cpu, memory, err
}

func find(o *api.TaskOverride, name string) *api.ContainerOverride {
	if o == nil {
		return nil
	}
	for i := range o.ContainerOverrides {
		if o.ContainerOverrides[i].Name == name {
			return &o.ContainerOverrides[i]
		}
	}
	return nil
}

// Override returns the container definition with the overrides of one run put
// over it.
func Override(cd *api.ContainerDefinition, overrides *api.TaskOverride) api.ContainerDefinition {
	c := *cd
	o := find(overrides, c.Name)
	if o == nil {
		return c
	}
	if len(o.Command) > 0 {
		c.Command = o.Command
	}
	if o.CPU != nil {
		c.CPU = *o.CPU
	}
	if o.Memory != nil {
		c.Memory = *o.Memory
	}
	if o.MemoryReservation != nil {
		c.MemoryReservation = *o.MemoryReservation
	}
	c.Environment = append(slices.Clone(c.Environment), o.Environment...) // the last one of a name counts
	c.EnvironmentFiles = append(slices.Clone(c.EnvironmentFiles), o.EnvironmentFiles...)
	for _, r := range o.ResourceRequirements {
		c.ResourceRequirements = slices.DeleteFunc(slices.Clone(c.ResourceRequirements),
			func(old api.ResourceRequirement) bool { return old.Type == r.Type })
		c.ResourceRequirements = append(c.ResourceRequirements, r)
	}
	return c
}

func container(cd *api.ContainerDefinition, t *Task, in *Input) (Container, error) {
	c := Container{
		Name: cd.Name, Image: cd.Image, Command: slices.Clone(cd.Command), EntryPoint: slices.Clone(cd.EntryPoint),
		Environment: map[string]string{}, Essential: cd.IsEssential(), CPU: cd.CPU, Memory: cd.Memory,
		Links: slices.Clone(cd.Links), PortMappings: []PortMapping{}, MountPoints: []MountPoint{}, VolumesFrom: []VolumeFrom{},
		Overrides: "{}", CredentialSpecs: slices.Clone(cd.CredentialSpecs),
	}
	for _, e := range cd.Environment {
		c.Environment[e.Name] = e.Value
	}
	c.Environment["AWS_EXECUTION_ENV"] = ExecutionEnv
	for _, f := range cd.EnvironmentFiles {
		c.EnvironmentFiles = append(c.EnvironmentFiles, EnvironmentFile(f))
	}
	for _, p := range cd.PortMappings {
		m := PortMapping{ContainerPort: p.ContainerPort, ContainerPortRange: p.ContainerPortRange, Protocol: p.Protocol}
		if p.ContainerPortRange == "" {
			m.HostPort = p.HostPort
		}
		c.PortMappings = append(c.PortMappings, m)
	}
	for _, m := range cd.MountPoints {
		c.MountPoints = append(c.MountPoints, MountPoint{m.SourceVolume, m.ContainerPath, isTrue(m.ReadOnly)})
	}
	for _, v := range cd.VolumesFrom {
		c.VolumesFrom = append(c.VolumesFrom, VolumeFrom{v.SourceContainer, isTrue(v.ReadOnly)})
	}
	c.lifecycle(cd)
	c.authentication(cd, in)
	config, err := dockerConfig(cd, t)
	c.DockerConfig = config
	return c, err
}

func (c *Container) lifecycle(cd *api.ContainerDefinition) {
	for _, d := range cd.DependsOn {
		c.DependsOn = append(c.DependsOn, Dependency(d))
	}
	if cd.StartTimeout != nil {
		c.StartTimeout = *cd.StartTimeout
	}
	if cd.StopTimeout != nil {
		c.StopTimeout = *cd.StopTimeout
	}
	if cd.HealthCheck != nil {
		c.HealthCheckType = "docker"
	}
	if f := cd.FirelensConfiguration; f != nil {
		c.Firelens = &Firelens{Type: f.Type, Options: f.Options}
	}
	if r := cd.RestartPolicy; r != nil {
		c.RestartPolicy = &RestartPolicy{Enabled: r.Enabled, IgnoredExitCodes: append([]int{}, r.IgnoredExitCodes...), RestartAttemptPeriod: 300}
		if r.RestartAttemptPeriod != nil {
			c.RestartPolicy.RestartAttemptPeriod = *r.RestartAttemptPeriod
		}
	}
}

func (c *Container) authentication(cd *api.ContainerDefinition, in *Input) {
	execution := ExecutionRole(in.Definition, in.Overrides) != ""
	if m := taskdef.ECRImage.FindStringSubmatch(cd.Image); m != nil {
		c.RegistryAuthentication = &RegistryAuth{Type: "ecr", ECR: &ECRAuth{RegistryID: m[1], Region: m[2], UseExecutionRole: execution}}
	}
	if r := cd.RepositoryCredentials; r != nil {
		c.RegistryAuthentication = &RegistryAuth{Type: "asm", ASM: &ASMAuth{
			CredentialsParameter: r.CredentialsParameter, Region: region(r.CredentialsParameter, in.Region)}}
	}
	for _, s := range cd.Secrets {
		c.Secrets = append(c.Secrets, secret(s, "ENVIRONMENT_VARIABLE", "CONTAINER", in.Region))
	}
	if l := cd.LogConfiguration; l != nil {
		if l.LogDriver == "awslogs" && execution {
			c.LogsAuthStrategy = "ExecutionRole"
		}
		for _, s := range l.SecretOptions {
			c.Secrets = append(c.Secrets, secret(s, "BOOTSTRAP", "LOG_DRIVER", in.Region))
		}
	}
}

func secret(s api.Secret, kind, target, defaultRegion string) Secret {
	return Secret{Name: s.Name, ValueFrom: s.ValueFrom, Region: region(s.ValueFrom, defaultRegion),
		Provider: taskdef.SecretProvider(s.ValueFrom), Type: kind, Target: target}
}

// region takes the region out of an ARN.
func region(arn, otherwise string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[0] == "arn" && parts[3] != "" {
		return parts[3]
	}
	return otherwise
}

// TaskRole returns the role of the task's containers.
func TaskRole(d *api.TaskDefinition, o *api.TaskOverride) string {
	if o != nil && o.TaskRoleARN != "" {
		return o.TaskRoleARN
	}
	return d.TaskRoleARN
}

// ExecutionRole returns the role with which the agent prepares the task.
func ExecutionRole(d *api.TaskDefinition, o *api.TaskOverride) string {
	if o != nil && o.ExecutionRoleARN != "" {
		return o.ExecutionRoleARN
	}
	return d.ExecutionRoleARN
}

func volume(v *api.Volume) (Volume, error) {
	out := Volume{Name: v.Name, Type: "host"}
	switch {
	case v.Docker != nil:
		out.Type = "docker"
		out.Docker = &DockerVolume{Scope: v.Docker.Scope, Autoprovision: isTrue(v.Docker.Autoprovision),
			Driver: v.Docker.Driver, DriverOpts: v.Docker.DriverOpts, Labels: v.Docker.Labels}
	case v.EFS != nil:
		out.Type = "efs"
		out.EFS = &EFSVolume{FileSystemID: v.EFS.FileSystemID, RootDirectory: v.EFS.RootDirectory, TransitEncryption: v.EFS.TransitEncryption}
		if out.EFS.RootDirectory == "" {
			out.EFS.RootDirectory = "/"
		}
		if p := v.EFS.TransitEncryptionPort; p != nil {
			out.EFS.TransitEncryptionPort = *p
		}
		if a := v.EFS.AuthorizationConfig; a != nil {
			out.EFS.AuthorizationConfig = &EFSAuthorization{AccessPointID: a.AccessPointID, IAM: a.IAM}
		}
	case v.FSx != nil:
		out.Type = "fsxWindowsFileServer"
		out.FSx = &FSxVolume{FileSystemID: v.FSx.FileSystemID, RootDirectory: v.FSx.RootDirectory,
			AuthorizationConfig: FSxAuthorization(v.FSx.AuthorizationConfig)}
	case isTrue(v.ConfiguredAtLaunch):
		out.Type = ""
	case v.S3Files != nil:
		return Volume{}, fmt.Errorf("volume %q needs an attachment, which this control plane does not make", v.Name)
	default:
		out.Host = &HostVolume{}
		if v.Host != nil {
			out.Host.SourcePath = v.Host.SourcePath
		}
	}
	return out, nil
}

func isTrue(b *bool) bool { return b != nil && *b }
