package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"ecsagent/controlplane/api"
)

// Need is what a task asks of an instance.
type Need struct {
	CPU    int      // CPU units
	Memory int      // MiB
	TCP    []uint16 // fixed host ports
	UDP    []uint16
	GPUs   int
	ENIs   int // network interfaces of its own
	// Attributes must all be there; one with a value must have that value.
	Attributes []api.Attribute
	Group      string
}

// Instance is a picture of a container instance and what is left of it.
type Instance struct {
	ARN        string
	ID         string // EC2 or managed instance id
	Connected  bool
	External   bool
	CPU        int             // remaining
	Memory     int             // remaining
	TCP        map[uint16]bool // in use or reserved
	UDP        map[uint16]bool
	GPUs       []string // free
	ENIs       int      // network interfaces that can still be attached
	Attributes map[string]string
	// Fields are what expressions may ask beside attributes: agentVersion,
	// runningTasksCount and so on.
	Fields map[string]string
	// Groups counts the live tasks of each group.
	Groups map[string]int
	Tasks  int
}

// Lookup implements Subject.
func (in *Instance) Lookup(name string) ([]string, bool) {
	if attribute, ok := cutAttribute(name); ok {
		v, ok := in.Attributes[attribute]
		return []string{v}, ok
	}
	if name == "task:group" {
		groups := make([]string, 0, len(in.Groups))
		for g := range in.Groups {
			groups = append(groups, g)
		}
		return groups, len(groups) > 0
	}
	v, ok := in.Fields[name]
	return []string{v}, ok
}

func cutAttribute(name string) (string, bool) {
	const prefix = "attribute:"
	if len(name) > len(prefix) && name[:len(prefix)] == prefix {
		return name[len(prefix):], true
	}
	return "", false
}

// Rules are the constraints and the strategy of a request.
type Rules struct {
	MemberOf []Expression
	Distinct bool
	Strategy []api.PlacementStrategy
	// External asks for an external instance only.
	External bool
}

// Fits returns nil if the instance can take the task; otherwise why not, with
// ECS's reason and, where that leaves people guessing, a detail.
func Fits(in *Instance, need *Need, rules *Rules) *api.Failure {
	no := func(reason, detail string, args ...any) *api.Failure {
		return &api.Failure{ARN: in.ARN, Reason: reason, Detail: fmt.Sprintf(detail, args...)}
	}
	if !in.Connected {
		return no(api.ReasonAgent, "The agent is not connected")
	}
	if rules.External && !in.External {
		return no(api.ReasonAttribute, "The instance is not an external one")
	}
	for _, a := range need.Attributes {
		switch have, ok := in.Attributes[a.Name]; {
		case !ok:
			return no(api.ReasonAttribute, "The instance has no attribute %s", a.Name)
		case a.Value != "" && a.Value != have:
			return no(api.ReasonAttribute, "Attribute %s is %q, not %q", a.Name, have, a.Value)
		}
	}
	for _, e := range rules.MemberOf {
		if !e.Match(in) {
			return no(api.ReasonMemberOf, "")
		}
	}
	if rules.Distinct && in.Groups[need.Group] > 0 {
		return no(api.ReasonDistinct, "")
	}
	return room(in, need, no)
}

// room looks at what is left on the instance.
func room(in *Instance, need *Need, no func(reason, detail string, args ...any) *api.Failure) *api.Failure {
	switch {
	case need.CPU > in.CPU:
		return no(api.ReasonCPU, "")
	case need.Memory > in.Memory:
		return no(api.ReasonMemory, "")
	case need.GPUs > len(in.GPUs):
		return no(api.ReasonGPU, "")
	case need.ENIs > in.ENIs:
		return no(api.ReasonENI, "The local ECS has no network interface left to give; it has some where it is served with --vpc")
	}
	for _, p := range need.TCP {
		if in.TCP[p] {
			return no(api.ReasonPorts, "Port %d/tcp is reserved or in use", p)
		}
	}
	for _, p := range need.UDP {
		if in.UDP[p] {
			return no(api.ReasonPorts, "Port %d/udp is reserved or in use", p)
		}
	}
	return nil
}

// Take books the task on the picture, so that the next one sees what is left. It
// returns the GPUs that the task gets.
func (in *Instance) Take(need *Need) (gpus []string) {
	in.CPU -= need.CPU
	in.Memory -= need.Memory
	in.ENIs -= need.ENIs
	for _, p := range need.TCP {
		in.TCP[p] = true
	}
	for _, p := range need.UDP {
		in.UDP[p] = true
	}
	gpus, in.GPUs = in.GPUs[:need.GPUs:need.GPUs], in.GPUs[need.GPUs:]
	in.Groups[need.Group]++
	in.Tasks++
	return gpus
}

// Choose returns the instance for the task, or nil and why each instance cannot
// take it, in the order of the instances.
func Choose(instances []*Instance, need *Need, rules *Rules) (*Instance, []api.Failure) {
	var failures []api.Failure
	var fit []*Instance
	for _, in := range instances {
		if failure := Fits(in, need, rules); failure != nil {
			failures = append(failures, *failure)
		} else {
			fit = append(fit, in)
		}
	}
	if len(fit) == 0 {
		return nil, failures
	}
	return slices.MinFunc(fit, byStrategy(instances, rules.Strategy)), nil
}

// byStrategy orders instances, best first. Without a strategy tasks are spread.
func byStrategy(all []*Instance, strategy []api.PlacementStrategy) func(a, b *Instance) int {
	order := make([]func(a, b *Instance) int, 0, len(strategy)+2)
	for _, s := range strategy {
		switch s.Type {
		case "binpack":
			order = append(order, func(a, b *Instance) int {
				if s.Field == "cpu" || s.Field == "CPU" {
					return cmp.Compare(a.CPU, b.CPU)
				}
				return cmp.Compare(a.Memory, b.Memory)
			})
		case "spread":
			tasks := tasksBy(all, s.Field)
			order = append(order, func(a, b *Instance) int {
				return cmp.Compare(tasks[bucket(a, s.Field)], tasks[bucket(b, s.Field)])
			})
		}
	}
	order = append(order,
		func(a, b *Instance) int { return cmp.Compare(a.Tasks, b.Tasks) },
		func(a, b *Instance) int { return cmp.Compare(a.ARN, b.ARN) })
	return func(a, b *Instance) int {
		for _, compare := range order {
			if c := compare(a, b); c != 0 {
				return c
			}
		}
		return 0
	}
}

// bucket is the group of instances among which field spreads.
func bucket(in *Instance, field string) string {
	attribute, ok := cutAttribute(field)
	if !ok {
		return in.ARN // instanceId, host
	}
	return in.Attributes[attribute]
}

func tasksBy(all []*Instance, field string) map[string]int {
	tasks := make(map[string]int)
	for _, in := range all {
		tasks[bucket(in, field)] += in.Tasks
	}
	return tasks
}

// Port reads a port as resource sets hold it.
func Port(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}
