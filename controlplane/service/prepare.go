package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/placement"
	"ecsagent/controlplane/render"
	"ecsagent/controlplane/taskdef"
)

// maxOverrides is the greatest size of a request's overrides, as JSON.
const maxOverrides = 8192

// prepare checks what RunTask and StartTask have in common and works out what the
// task needs.
func (s *Service) prepare(req *api.TaskRequest, launchType string) (*launch, error) {
	c, err := s.state.cluster(req.Cluster)
	if err != nil {
		return nil, err
	}
	d, err := s.runnable(req.TaskDefinition, launchType)
	if err != nil {
		return nil, err
	}
	l := &launch{req: req, cluster: c, definition: d, launchType: launchType, group: req.Group}
	if err := l.check(); err != nil {
		return nil, err
	}
	if l.volume, err = s.checkVolumes(req, &d.TaskDefinition); err != nil {
		return nil, err
	}
	if l.group == "" {
		l.group = "family:" + d.Family
	}
	if err := l.needs(); err != nil {
		return nil, err
	}
	if err := checkTags(req.Tags); err != nil {
		return nil, err
	}
	l.tags = []api.Tag{}
	if req.PropagateTags == "TASK_DEFINITION" {
		l.tags = append(l.tags, d.Tags...)
	}
	l.tags = mergeTags(l.tags, req.Tags)
	if req.EnableECSManagedTags {
		l.tags = mergeTags(l.tags, []api.Tag{{Key: "aws:ecs:clusterName", Value: c.Name}})
	}
	return l, nil
}

// runnable finds the task definition to run.
func (s *Service) runnable(ref, launchType string) (*definition, error) {
	if ref == "" {
		return nil, api.Client("TaskDefinition can not be blank.")
	}
	d := s.state.definition(ref)
	switch {
	case d == nil:
		return nil, api.Client("TaskDefinition not found.")
	case d.Status != api.StatusActive:
		return nil, api.Client("TaskDefinition is inactive")
	}
	if !slices.Contains([]string{"", api.LaunchEC2, api.LaunchExternal, api.LaunchFargate}, launchType) {
		return nil, api.Invalid("Invalid launch type '%s'.", clip(launchType))
	}
	if launchType != "" && (!slices.Contains(d.Compatibilities, launchType) ||
		len(d.RequiresCompatibilities) > 0 && !slices.Contains(d.RequiresCompatibilities, launchType)) {
		return nil, api.Invalid("Task definition does not support launch_type %s.", launchType)
	}
	return d, nil
}

func (l *launch) check() error {
	req := l.req
	switch {
	case len(req.StartedBy) > 128:
		return api.Invalid("startedBy can have at most 128 characters.")
	case len(req.Group) > 255:
		return api.Invalid("Group can have at most 255 characters.")
	case strings.HasPrefix(req.Group, "service:") || strings.HasPrefix(req.Group, "family:"):
		return api.Invalid("Invalid namespace for group.")
	case len(req.ReferenceID) > 1024:
		return api.Invalid("referenceId can have at most 1024 characters.")
	case !slices.Contains([]string{"", "NONE", "TASK_DEFINITION"}, req.PropagateTags):
		return api.Invalid("Invalid value '%s' for propagateTags.", clip(req.PropagateTags))
	}
	vpc := l.definition.NetworkMode == api.NetworkVPC
	given := req.NetworkConfiguration != nil && len(req.NetworkConfiguration.AWSVPCConfiguration) > 0
	switch {
	case vpc && !given:
		return api.Invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	case !vpc && given:
		return api.Invalid("Network Configuration is not valid for the given networkMode of this task definition.")
	}
	return l.checkOverrides()
}

func (l *launch) checkOverrides() error {
	o := &l.req.Overrides
	if b, err := json.Marshal(o); err != nil || len(b) > maxOverrides {
		return api.Invalid("Overrides can have at most %d characters.", maxOverrides)
	}
	if _, _, err := render.Size(&l.definition.TaskDefinition, o); err != nil {
		return api.Invalid("Invalid override: %v.", err)
	}
	seen := map[string]bool{}
	for _, c := range o.ContainerOverrides {
		i := slices.IndexFunc(l.definition.ContainerDefinitions, func(cd api.ContainerDefinition) bool { return cd.Name == c.Name })
		switch {
		case i < 0:
			return api.Invalid("Override for container named %s is not a container in the TaskDefinition.", clip(c.Name))
		case seen[c.Name]:
			return api.Invalid("Override for container named %s is given more than once.", clip(c.Name))
		}
		seen[c.Name] = true
	}
	// What would not be registered must not come about by overrides either.
	if problems := taskdef.Validate(l.overridden()); len(problems) > 0 {
		return api.Invalid("Invalid override: %s", problems[0].Message)
	}
	return nil
}

// overridden is the task definition as if it had been registered with the
// overrides.
func (l *launch) overridden() *api.RegisterTaskDefinitionRequest {
	d, o := &l.definition.TaskDefinition, &l.req.Overrides
	r := &api.RegisterTaskDefinitionRequest{
		Family: d.Family, TaskRoleARN: d.TaskRoleARN, ExecutionRoleARN: render.ExecutionRole(d, o), NetworkMode: d.NetworkMode,
		Volumes: d.Volumes, PlacementConstraints: d.PlacementConstraints, RequiresCompatibilities: d.RequiresCompatibilities,
		CPU: d.CPU, Memory: d.Memory, PIDMode: d.PIDMode, IPCMode: d.IPCMode, ProxyConfiguration: d.ProxyConfiguration,
		RuntimePlatform: d.RuntimePlatform,
	}
	if o.CPU != "" {
		r.CPU = o.CPU
	}
	if o.Memory != "" {
		r.Memory = o.Memory
	}
	for i := range d.ContainerDefinitions {
		r.ContainerDefinitions = append(r.ContainerDefinitions, render.Override(&d.ContainerDefinitions[i], o))
	}
	return r
}

// needs adds up what the task asks of an instance.
func (l *launch) needs() error {
	d := &l.definition.TaskDefinition
	cpu, memory, err := render.Size(d, &l.req.Overrides)
	if err != nil {
		return api.Invalid("Invalid override: %v.", err)
	}
	n := placement.Need{CPU: cpu, Memory: memory, Attributes: d.RequiresAttributes, Group: l.group}
	if l.req.EnableExecuteCommand {
		n.Attributes = append(slices.Clone(n.Attributes), api.Attribute{Name: "ecs.capability.execute-command"})
	}
	if d.NetworkMode == api.NetworkVPC {
		n.ENIs = 1
	}
	for i := range d.ContainerDefinitions {
		cd := render.Override(&d.ContainerDefinitions[i], &l.req.Overrides)
		if cpu == 0 {
			n.CPU += cd.CPU
		}
		if memory == 0 && cd.MemoryReservation > 0 {
			n.Memory += cd.MemoryReservation
		} else if memory == 0 {
			n.Memory += cd.Memory
		}
		gpus := 0
		for _, r := range cd.ResourceRequirements {
			if r.Type == "GPU" {
				if gpus, err = strconv.Atoi(r.Value); err != nil {
					return fmt.Errorf("read GPU count of container %q: %w", cd.Name, err)
				}
			}
		}
		n.GPUs += gpus
		l.gpus = append(l.gpus, gpus)
		for _, p := range cd.PortMappings {
			if p.HostPort == nil || *p.HostPort == 0 || d.NetworkMode == api.NetworkVPC {
				continue
			}
			if p.Protocol == "udp" {
				n.UDP = append(n.UDP, uint16(*p.HostPort))
			} else {
				n.TCP = append(n.TCP, uint16(*p.HostPort))
			}
		}
	}
	for _, c := range d.PlacementConstraints {
		e, err := placement.Parse(c.Expression)
		if err != nil {
			return api.Client("Invalid placement constraint of the task definition: %v.", err)
		}
		l.memberOf = append(l.memberOf, e)
	}
	l.need = n
	return nil
}
