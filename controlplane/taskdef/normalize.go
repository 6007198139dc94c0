package taskdef

import (
	"maps"
	"slices"
	"strconv"

	"ecsagent/controlplane/api"
)

// Complete returns the task definition as ECS shows it after registration, with
// defaults filled in. The request must be valid. Identity, status and times are
// left to the caller.
func Complete(r *api.RegisterTaskDefinitionRequest) api.TaskDefinition {
	d := api.TaskDefinition{
		Family: r.Family, TaskRoleARN: r.TaskRoleARN, ExecutionRoleARN: r.ExecutionRoleARN,
		NetworkMode: r.NetworkMode, Volumes: []api.Volume{},
		PlacementConstraints:    append([]api.PlacementConstraint{}, r.PlacementConstraints...),
		RuntimePlatform:         r.RuntimePlatform,
		RequiresCompatibilities: slices.Clone(r.RequiresCompatibilities),
		CPU:                     sizeText(r.CPU, ParseCPU), Memory: sizeText(r.Memory, ParseMemory),
		InferenceAccelerators: slices.Clone(r.InferenceAccelerators),
		PIDMode:               r.PIDMode, IPCMode: r.IPCMode,
		ProxyConfiguration: r.ProxyConfiguration, EphemeralStorage: r.EphemeralStorage,
		EnableFaultInjection: r.EnableFaultInjection,
	}
	for _, v := range r.Volumes {
		d.Volumes = append(d.Volumes, completeVolume(v))
	}
	for i := range r.ContainerDefinitions {
		d.ContainerDefinitions = append(d.ContainerDefinitions, completeContainer(&r.ContainerDefinitions[i], r.NetworkMode))
	}
	d.RequiresAttributes = RequiredAttributes(&d)
	d.Compatibilities = Compatibilities(&d)
	return d
}

func sizeText(s string, parse func(string) (int, error)) string {
	if n, err := parse(s); err == nil && n != 0 {
		return strconv.Itoa(n)
	}
	return ""
}

func completeContainer(in *api.ContainerDefinition, network string) api.ContainerDefinition {
	c := *in
	essential := c.IsEssential()
	c.Essential = &essential
	c.Environment = append([]api.KeyValue{}, c.Environment...)
	c.MountPoints = append([]api.MountPoint{}, c.MountPoints...)
	c.VolumesFrom = append([]api.VolumeFrom{}, c.VolumesFrom...)
	c.SystemControls = append([]api.SystemControl{}, c.SystemControls...)
	c.PortMappings = append([]api.PortMapping{}, c.PortMappings...)
	c.DockerLabels = maps.Clone(c.DockerLabels)
	for i := range c.PortMappings {
		completePort(&c.PortMappings[i], network)
	}
	if c.HealthCheck != nil {
		h := *c.HealthCheck
		h.Interval, h.Timeout, h.Retries = orDefault(h.Interval, 30), orDefault(h.Timeout, 5), orDefault(h.Retries, 3)
		c.HealthCheck = &h
	}
	return c
}

func orDefault(p *int, n int) *int {
	if p == nil {
		p = &n
	}
	return p
}

func completePort(p *api.PortMapping, network string) {
	if p.Protocol == "" {
		p.Protocol = "tcp"
	}
	if p.ContainerPortRange != "" {
		return
	}
	fixed := network == api.NetworkHost || network == api.NetworkVPC
	if p.HostPort == nil || fixed && *p.HostPort == 0 {
		port := 0
		if fixed {
			port = p.ContainerPort
		}
		p.HostPort = &port
	}
}

func completeVolume(v api.Volume) api.Volume {
	switch {
	case v.Docker != nil:
		d := *v.Docker
		if d.Scope == "" {
			d.Scope = "task"
		}
		if d.Driver == "" {
			d.Driver = "local"
		}
		v.Docker = &d
	case v.Host == nil && v.EFS == nil && v.S3Files == nil && v.FSx == nil && v.ConfiguredAtLaunch == nil:
		v.Host = &api.HostVolume{}
	}
	return v
}
