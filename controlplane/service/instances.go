package service

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/placement"
)

// reasonForced is the reason of tasks whose instance was deregistered under them.
const reasonForced = "Container instance deregistration forced by user"

// counts returns how many tasks of the instance have been running and how many
// have not come that far.
func (in *instance) counts() (running, pending int) {
	for _, t := range in.tasks {
		if t.Task.StartedAt.IsZero() {
			pending++
		} else {
			running++
		}
	}
	return running, pending
}

// reconnects is how long an agent whose work channel ended still gets new tasks: agents
// come back in a moment, and the tasks wait for them.
const reconnects = 3 * time.Second

// target is the picture of an instance that a task may be placed on.
func (in *instance) target(now time.Time) *placement.Instance {
	p := in.picture()
	p.Connected = in.connected || now.Sub(in.left) < reconnects
	return p
}

// picture shows the instance to package placement, with what its tasks leave.
func (in *instance) picture() *placement.Instance {
	running, pending := in.counts()
	p := &placement.Instance{
		ARN: in.ARN, ID: in.EC2ID, Connected: in.connected, External: in.External, CPU: in.CPU, Memory: in.Memory,
		TCP: map[uint16]bool{}, UDP: map[uint16]bool{}, Attributes: in.Attributes, Groups: map[string]int{}, Tasks: len(in.tasks),
		Fields: map[string]string{
			"agentConnected": strconv.FormatBool(in.connected), "agentVersion": in.VersionInfo.AgentVersion,
			"dockerVersion": in.VersionInfo.DockerVersion, "ec2InstanceId": in.EC2ID, "containerInstanceArn": in.ARN,
			"registeredAt":      in.RegisteredAt.UTC().Format("2006-01-02T15:04:05Z"),
			"runningTasksCount": strconv.Itoa(running), "pendingTasksCount": strconv.Itoa(pending), "status": in.Status,
		},
	}
	for _, port := range in.TCP {
		p.TCP[port] = true
	}
	for _, port := range in.UDP {
		p.UDP[port] = true
	}
	gpus := map[string]bool{}
	for _, t := range in.tasks {
		p.CPU -= t.Need.CPU
		p.Memory -= t.Need.Memory
		p.Groups[t.Task.Group]++
		for _, port := range t.Need.TCP {
			p.TCP[port] = true
		}
		for _, port := range t.Need.UDP {
			p.UDP[port] = true
		}
		for _, c := range t.Task.Containers {
			for _, id := range c.GPUIDs {
				gpus[id] = true
			}
		}
	}
	for _, id := range in.GPUs {
		if !gpus[id] {
			p.GPUs = append(p.GPUs, id)
		}
	}
	return p
}

func (st *state) instanceView(in *instance, tags bool) api.ContainerInstance {
	left := in.picture()
	running, pending := in.counts()
	v := api.ContainerInstance{
		ContainerInstanceARN: in.ARN, EC2InstanceID: in.EC2ID, Version: in.Version, VersionInfo: in.VersionInfo,
		RegisteredResources: resources(in.CPU, in.Memory, in.TCP, in.UDP, in.GPUs),
		RemainingResources: resources(left.CPU, left.Memory, slices.Collect(maps.Keys(left.TCP)),
			slices.Collect(maps.Keys(left.UDP)), left.GPUs),
		Status: in.Status, AgentConnected: in.connected, AgentUpdateStatus: in.update, RunningTasksCount: running, PendingTasksCount: pending,
		Attributes: in.attributeList(), RegisteredAt: in.RegisteredAt, Attachments: []api.Empty{}, Tags: []api.Tag{},
	}
	if tags {
		v.Tags = append(v.Tags, in.Tags...)
	}
	return v
}

func resources(cpu, memory int, tcp, udp []uint16, gpus []string) []api.Resource {
	list := []api.Resource{
		{Name: "CPU", Type: "INTEGER", IntegerValue: cpu},
		{Name: "MEMORY", Type: "INTEGER", IntegerValue: memory},
		{Name: "PORTS", Type: "STRINGSET", StringSetValue: portTexts(tcp)},
		{Name: "PORTS_UDP", Type: "STRINGSET", StringSetValue: portTexts(udp)},
	}
	if len(gpus) > 0 {
		list = append(list, api.Resource{Name: "GPU", Type: "STRINGSET", StringSetValue: slices.Clone(gpus)})
	}
	return list
}

func portTexts(ports []uint16) []string {
	ports = slices.Sorted(slices.Values(ports))
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = strconv.Itoa(int(p))
	}
	return texts
}

func (in *instance) attributeList() []api.Attribute {
	list := make([]api.Attribute, 0, len(in.Attributes))
	for name, value := range in.Attributes {
		list = append(list, api.Attribute{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b api.Attribute) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// instancesOf returns the cluster's instances with one of the statuses, oldest
// first.
func (st *state) instancesOf(c *cluster, statuses ...string) []*instance {
	var list []*instance
	for _, in := range st.instances {
		if in.Cluster == c.Name && slices.Contains(statuses, in.Status) {
			list = append(list, in)
		}
	}
	slices.SortFunc(list, func(a, b *instance) int {
		return cmp.Or(a.RegisteredAt.Compare(b.RegisteredAt.Time), cmp.Compare(a.ARN, b.ARN))
	})
	return list
}

func (s *Service) listContainerInstances(in *api.ListContainerInstancesRequest) (*api.ListContainerInstancesResponse, error) {
	filter, err := placement.Parse(in.Filter)
	if in.Filter == "" {
		filter, err = placement.Expression{}, nil
	}
	if err != nil {
		return nil, api.Invalid("Invalid filter: %v.", err)
	}
	statuses := []string{api.StatusActive, api.StatusDraining}
	switch in.Status {
	case "":
	case api.StatusActive, api.StatusDraining, "REGISTERING", "DEREGISTERING", "REGISTRATION_FAILED":
		statuses = []string{in.Status}
	default:
		return nil, api.Invalid("Invalid status '%s'.", clip(in.Status))
	}
	out := new(api.ListContainerInstancesResponse)
	err = s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		var list []entry
		for _, i := range st.instancesOf(c, statuses...) {
			if filter.Match(i.picture()) {
				list = append(list, entry{i.ARN, i.ARN})
			}
		}
		out.ContainerInstanceARNs, out.NextToken, err = page(list, in.Page, false)
		return err
	})
	return out, err
}

func (s *Service) describeContainerInstances(in *api.DescribeContainerInstancesRequest) (*api.ContainerInstancesResponse, error) {
	if len(in.ContainerInstances) == 0 {
		return nil, api.Invalid("Container instance cannot be empty.")
	}
	if len(in.ContainerInstances) > maxPage {
		return nil, api.Invalid("Container instances can have at most %d items.", maxPage)
	}
	out := &api.ContainerInstancesResponse{ContainerInstances: []api.ContainerInstance{}, Failures: []api.Failure{}}
	err := s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		for _, ref := range in.ContainerInstances {
			i, err := s.instance(ref, c)
			if err != nil {
				return err
			}
			if i == nil {
				out.Failures = append(out.Failures, s.missing("container-instance", ref, c))
				continue
			}
			v := st.instanceView(i, slices.Contains(in.Include, "TAGS"))
			if slices.Contains(in.Include, "CONTAINER_INSTANCE_HEALTH") {
				v.HealthStatus = i.health
			}
			out.ContainerInstances = append(out.ContainerInstances, v)
		}
		return nil
	})
	return out, err
}

// missing is the failure for something that does not exist.
func (s *Service) missing(kind, ref string, c *cluster) api.Failure {
	if !isARN(ref) {
		ref = s.arn(kind, c.Name, ref)
	}
	return api.Failure{ARN: ref, Reason: api.ReasonMissing}
}

func (s *Service) updateContainerInstancesState(in *api.UpdateContainerInstancesStateRequest) (*api.ContainerInstancesResponse, error) {
	if in.Status != api.StatusActive && in.Status != api.StatusDraining {
		return nil, api.Invalid("Container instance status should be one of [ACTIVE, DRAINING]")
	}
	if n := len(in.ContainerInstances); n < 1 || n > 10 {
		return nil, api.Invalid("Container instances must have 1 to 10 items.")
	}
	out := &api.ContainerInstancesResponse{ContainerInstances: []api.ContainerInstance{}, Failures: []api.Failure{}}
	err := s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		for _, ref := range in.ContainerInstances {
			i, err := s.instance(ref, c)
			switch {
			case err != nil:
				return err
			case i == nil:
				out.Failures = append(out.Failures, s.missing("container-instance", ref, c))
				continue
			case i.Status == api.StatusInactive:
				out.Failures = append(out.Failures, api.Failure{ARN: i.ARN, Reason: api.ReasonInactive})
				continue
			case i.Status != in.Status:
				i.Status = in.Status
				t.instanceChanged(i)
			}
			out.ContainerInstances = append(out.ContainerInstances, s.state.instanceView(i, true))
		}
		return nil
	})
	return out, err
}

func (s *Service) deregisterContainerInstance(in *api.DeregisterContainerInstanceRequest) (*api.ContainerInstanceResponse, error) {
	out := new(api.ContainerInstanceResponse)
	err := s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		i, err := s.instance(in.ContainerInstance, c)
		switch {
		case err != nil:
			return err
		case i == nil:
			return api.Invalid("Container instance not found.")
		case i.Status == api.StatusInactive:
			out.ContainerInstance = s.state.instanceView(i, true)
			return nil
		case len(i.tasks) > 0 && !in.Force:
			return api.Invalid("Found running tasks on the instance.")
		}
		for _, tk := range i.live() {
			t.stop(tk, api.StopUserInitiated, reasonForced)
			t.finishTask(tk, "")
		}
		i.Status = api.StatusInactive
		i.InactiveAt = api.At(t.now)
		i.connected = false
		t.instanceChanged(i)
		t.batch.disconnects = append(t.batch.disconnects, i.ARN)
		s.state.forgetPayloads(i)
		s.usage.Forget(i.ARN)
		out.ContainerInstance = s.state.instanceView(i, true)
		return nil
	})
	return out, err
}

// forgetPayloads drops what waits for acks of an instance that is gone.
func (st *state) forgetPayloads(in *instance) {
	for id, marks := range st.inFlight {
		tk := st.tasks[marks[0].task]
		if tk == nil || tk.Task.ContainerInstanceARN == in.ARN {
			delete(st.inFlight, id)
		}
	}
}
