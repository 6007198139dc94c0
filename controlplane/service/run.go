package service

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/placement"
	"ecsagent/controlplane/render"
	"ecsagent/controlplane/wire"
)

// maxRun is how many tasks one RunTask or StartTask can start.
const maxRun = 10

// launch is a checked request to start tasks.
type launch struct {
	req         *api.TaskRequest
	cluster     *cluster
	definition  *definition
	need        placement.Need
	gpus        []int // by container
	rules       placement.Rules
	memberOf    []placement.Expression // of the definition
	launchType  string                 // as asked; may be empty
	group       string
	tags        []api.Tag
	volume      *api.VolumeConfiguration // nil: the task definition leaves none open
	clientToken string
	hash        string
}

func (s *Service) runTask(in *api.RunTaskRequest) (*api.TasksResponse, error) {
	count := 1
	if in.Count != nil {
		count = *in.Count
	}
	if count < 1 || count > maxRun {
		return nil, api.Invalid("Count must be between 1 and %d.", maxRun)
	}
	if len(in.CapacityProviderStrategy) > 0 {
		return nil, api.Errorf(api.UnsupportedFeatureException, "The local ECS does not support capacity providers.")
	}
	rules, err := readRules(in)
	if err != nil {
		return nil, err
	}
	out := &api.TasksResponse{Tasks: []api.Task{}, Failures: []api.Failure{}}
	err = s.update(func(t *tx) error {
		l, err := s.prepare(&in.TaskRequest, in.LaunchType)
		if err != nil {
			return err
		}
		l.rules, l.clientToken = rules, in.ClientToken
		l.rules.MemberOf = append(slices.Clone(rules.MemberOf), l.memberOf...)
		l.rules.External = in.LaunchType == api.LaunchExternal
		if again, err := s.sameRequest(l, in); err != nil || again != nil {
			for _, tk := range again {
				out.Tasks = append(out.Tasks, tk.view(true))
			}
			return err
		}
		if in.LaunchType == api.LaunchFargate {
			out.Failures = append(out.Failures, api.Failure{Reason: api.ReasonNoFargate})
			return nil
		}
		return s.place(t, l, count, out)
	})
	return out, err
}

func readRules(in *api.RunTaskRequest) (placement.Rules, error) {
	var rules placement.Rules
	if len(in.PlacementConstraints) > 10 {
		return rules, api.Invalid("Placement constraints can have at most 10 items.")
	}
	for _, p := range in.PlacementConstraints {
		switch p.Type {
		case "distinctInstance":
			rules.Distinct = true
		case "memberOf":
			e, err := placement.Parse(p.Expression)
			if err != nil {
				return rules, api.Invalid("Invalid placement constraint: %v.", err)
			}
			rules.MemberOf = append(rules.MemberOf, e)
		default:
			return rules, api.Invalid("Invalid placement constraint type '%s'.", clip(p.Type))
		}
	}
	if len(in.PlacementStrategy) > 5 {
		return rules, api.Invalid("Placement strategy can have at most 5 items.")
	}
	for _, p := range in.PlacementStrategy {
		if !slices.Contains([]string{"random", "spread", "binpack"}, p.Type) {
			return rules, api.Invalid("Invalid placement strategy type '%s'.", clip(p.Type))
		}
	}
	rules.Strategy = in.PlacementStrategy
	return rules, nil
}

// sameRequest finds the tasks of an earlier request with the same client token.
func (s *Service) sameRequest(l *launch, in *api.RunTaskRequest) ([]*task, error) {
	if l.clientToken == "" {
		return nil, nil
	}
	if len(l.clientToken) > 64 {
		return nil, api.Invalid("clientToken can have at most 64 characters.")
	}
	b, err := json.Marshal(in)
	if err != nil {
		return nil, api.Errorf(api.ServerException, "encode request: %v", err)
	}
	sum := sha256.Sum256(b)
	l.hash = hex.EncodeToString(sum[:])
	var again []*task
	for _, tk := range s.state.tasks {
		if tk.ClientToken != l.clientToken || tk.Cluster != l.cluster.Name {
			continue
		}
		if tk.RequestHash != l.hash {
			return nil, api.Errorf(api.ConflictException, "The clientToken is already in use with a different RunTask request.")
		}
		again = append(again, tk)
	}
	slices.SortFunc(again, func(a, b *task) int { return int(a.Seq - b.Seq) })
	return again, nil
}

// place starts as many of the tasks as there is room for.
func (s *Service) place(t *tx, l *launch, count int, out *api.TasksResponse) error {
	instances := s.state.instancesOf(l.cluster, api.StatusActive)
	if len(instances) == 0 {
		return api.Invalid("No Container Instances were found in your cluster.")
	}
	pictures := make([]*placement.Instance, len(instances))
	for i, in := range instances {
		pictures[i] = in.target(t.now)
		pictures[i].ENIs = s.freeInterfaces()
	}
	for range count {
		p, failures := placement.Choose(pictures, &l.need, &l.rules)
		if p == nil {
			out.Failures = append(out.Failures, failures...)
			break
		}
		tk, err := s.create(t, l, s.state.instances[p.ARN], p.Take(&l.need))
		if err != nil {
			return err
		}
		out.Tasks = append(out.Tasks, tk.view(true))
	}
	return nil
}

func (s *Service) startTask(in *api.StartTaskRequest) (*api.TasksResponse, error) {
	if n := len(in.ContainerInstances); n < 1 || n > maxRun {
		return nil, api.Invalid("Container instances must have 1 to %d items.", maxRun)
	}
	out := &api.TasksResponse{Tasks: []api.Task{}, Failures: []api.Failure{}}
	err := s.update(func(t *tx) error {
		l, err := s.prepare(&in.TaskRequest, "")
		if err != nil {
			return err
		}
		targets := make([]*instance, len(in.ContainerInstances))
		for n, ref := range in.ContainerInstances {
			if targets[n], err = s.instance(ref, l.cluster); err != nil {
				return err
			}
		}
		for n, i := range targets {
			switch {
			case i == nil:
				out.Failures = append(out.Failures, s.missing("container-instance", in.ContainerInstances[n], l.cluster))
				continue
			case i.Status != api.StatusActive:
				out.Failures = append(out.Failures, api.Failure{ARN: i.ARN, Reason: api.ReasonInactive, Detail: i.Status})
				continue
			}
			p := i.target(t.now)
			p.ENIs = s.freeInterfaces()
			if failure := placement.Fits(p, &l.need, &l.rules); failure != nil {
				out.Failures = append(out.Failures, *failure)
				continue
			}
			tk, err := s.create(t, l, i, p.Take(&l.need))
			if err != nil {
				return err
			}
			out.Tasks = append(out.Tasks, tk.view(true))
		}
		return nil
	})
	return out, err
}

// create makes a task on an instance and sends it there.
func (s *Service) create(t *tx, l *launch, in *instance, gpus []string) (*task, error) {
	d := &l.definition.TaskDefinition
	id := newID()
	launchType := l.launchType
	if launchType == "" {
		launchType = in.launchType()
	}
	arn := s.arn("task", l.cluster.Name, id)
	tk := &task{
		Seq: s.state.seq + 1, Cluster: l.cluster.Name, Family: d.Family, Need: l.need, ClientToken: l.clientToken, RequestHash: l.hash,
		Task: api.Task{
			Attachments: []api.Attachment{}, Attributes: []api.Attribute{}, AvailabilityZone: in.Attributes[attributeZone],
			ClusterARN: l.cluster.ARN, Connectivity: connected, ConnectivityAt: api.At(t.now), ContainerInstanceARN: in.ARN,
			CreatedAt: api.At(t.now), DesiredStatus: api.StatusRunning, EnableExecuteCommand: l.req.EnableExecuteCommand,
			Group: l.group, HealthStatus: healthUnknown, LastStatus: api.StatusProvisioning, LaunchType: launchType,
			Overrides: shownOverrides(&l.req.Overrides, d), StartedBy: l.req.StartedBy, Tags: l.tags,
			TaskARN: arn, TaskDefinitionARN: d.TaskDefinitionARN,
		},
	}
	if arch, ok := in.Attributes["ecs.cpu-architecture"]; ok {
		tk.Task.Attributes = append(tk.Task.Attributes, api.Attribute{Name: "ecs.cpu-architecture", Value: arch})
	}
	tk.roles(d, &l.req.Overrides)
	gpusOf := tk.containers(s, l, id, gpus)
	payload, err := render.Render(render.Input{
		TaskARN: arn, ClusterARN: l.cluster.ARN, Region: s.opts.Region, AccountID: s.opts.AccountID, LaunchType: in.launchType(),
		Group: l.group, Definition: d, Overrides: &l.req.Overrides, ContainerARNs: tk.containerARNs(), GPUs: gpusOf, ExecuteCommand: l.req.EnableExecuteCommand,
	})
	if err != nil {
		return nil, api.Errorf(api.UnsupportedFeatureException, "The local ECS cannot run the task: %v", err)
	}
	tk.Payload = payload
	if l.need.ENIs > 0 {
		if tk.ENI, err = s.newInterface(id, l.cluster.Name); err != nil {
			return nil, err
		}
		payload.Interfaces = []wire.NetworkInterface{tk.ENI.Interface}
	}
	if tk.Disk = s.newDisk(id, l.cluster.Name, l.volume); tk.Disk != nil {
		payload.Attachments = []wire.Attachment{tk.Disk.Attachment}
	}
	tk.size(d, payload)
	s.state.seq = tk.Seq
	s.state.tasks[arn] = tk
	in.tasks[arn] = tk
	t.taskChanged(tk)
	if tk.provisioning() {
		t.attach(tk) // it goes on when the agent has seen what is attached
		return tk, nil
	}
	t.advance(tk, api.StatusPending) // nothing has to be provisioned
	t.deliver(tk)
	return tk, nil
}

func (in *instance) launchType() string {
	if in.External {
		return api.LaunchExternal
	}
	return api.LaunchEC2
}

func (tk *task) roles(d *api.TaskDefinition, o *api.TaskOverride) {
	if tk.RoleARN = render.TaskRole(d, o); tk.RoleARN != "" {
		tk.RoleID = uuid.NewString()
	}
	if tk.ExecutionARN = render.ExecutionRole(d, o); tk.ExecutionARN != "" {
		tk.ExecutionID = uuid.NewString()
	}
}

// containers fills in the task's containers and deals the GPUs out.
func (tk *task) containers(s *Service, l *launch, id string, gpus []string) (gpusOf [][]string) {
	for i := range l.definition.ContainerDefinitions {
		cd := render.Override(&l.definition.ContainerDefinitions[i], &l.req.Overrides)
		c := api.Container{
			ContainerARN: s.arn("container", l.cluster.Name, id, uuid.NewString()), TaskARN: tk.Task.TaskARN, Name: cd.Name, Image: cd.Image,
			LastStatus: api.StatusPending, NetworkBindings: []api.NetworkBinding{}, NetworkInterfaces: []api.NetworkInterface{},
			HealthStatus: healthUnknown, CPU: strconv.Itoa(cd.CPU),
		}
		if cd.Memory > 0 {
			c.Memory = strconv.Itoa(cd.Memory)
		}
		if cd.MemoryReservation > 0 {
			c.MemoryReservation = strconv.Itoa(cd.MemoryReservation)
		}
		if l.req.EnableExecuteCommand {
			c.ManagedAgents = []api.ManagedAgent{{Name: api.ExecuteCommandAgent, LastStatus: api.StatusPending}}
		}
		if n := l.gpus[i]; n > 0 {
			c.GPUIDs, gpus = gpus[:n:n], gpus[n:]
		}
		gpusOf = append(gpusOf, c.GPUIDs)
		tk.Task.Containers = append(tk.Task.Containers, c)
		tk.Essential = append(tk.Essential, cd.IsEssential())
		tk.Checked = append(tk.Checked, cd.HealthCheck != nil)
	}
	return gpusOf
}

func (tk *task) containerARNs() []string {
	var arns []string
	for _, c := range tk.Task.Containers {
		arns = append(arns, c.ContainerARN)
	}
	return arns
}

// size shows the task's cpu and memory: its own or the sum of its containers.
func (tk *task) size(d *api.TaskDefinition, p *render.Task) {
	cpu, memory := int(p.CPU*1024), p.Memory
	if cpu == 0 {
		cpu = tk.Need.CPU
	}
	if memory == 0 {
		memory = tk.Need.Memory
	}
	tk.Task.CPU, tk.Task.Memory = strconv.Itoa(cpu), strconv.Itoa(memory)
}

// shownOverrides are the overrides as DescribeTasks shows them: an entry for each
// container.
func shownOverrides(o *api.TaskOverride, d *api.TaskDefinition) api.TaskOverride {
	shown := *o
	shown.ContainerOverrides = []api.ContainerOverride{}
	shown.InferenceAcceleratorOverrides = append([]api.InferenceAccelerator{}, o.InferenceAcceleratorOverrides...)
	for i := range d.ContainerDefinitions {
		name := d.ContainerDefinitions[i].Name
		j := slices.IndexFunc(o.ContainerOverrides, func(c api.ContainerOverride) bool { return c.Name == name })
		if j < 0 {
			shown.ContainerOverrides = append(shown.ContainerOverrides, api.ContainerOverride{Name: name})
			continue
		}
		shown.ContainerOverrides = append(shown.ContainerOverrides, o.ContainerOverrides[j])
	}
	return shown
}
