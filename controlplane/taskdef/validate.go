package taskdef

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/placement"
)

// Limits of a task definition.
const (
	maxSize       = 64 << 10 // bytes of JSON
	maxContainers = 10
	maxTags       = 50
)

// Problem is one thing that ECS would refuse.
type Problem struct {
	// Field is where it is, such as containerDefinitions[0].image.
	Field   string
	Message string
}

// Error renders the problem with its place.
func (p Problem) Error() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}

// checker collects problems of one task definition.
type checker struct {
	def        *api.RegisterTaskDefinitionRequest
	containers map[string]*api.ContainerDefinition
	volumes    map[string]bool
	atLaunch   string // the volume that is configured at launch
	cpu        int    // of the task, in CPU units
	memory     int    // of the task, in MiB
	problems   []Problem
}

func (c *checker) bad(field, format string, args ...any) {
	c.problems = append(c.problems, Problem{field, fmt.Sprintf(format, args...)})
}

// Validate returns what ECS would refuse in the definition, in the order of its
// members. ECS itself answers with the first.
func Validate(def *api.RegisterTaskDefinitionRequest) []Problem {
	c := &checker{def: def, containers: map[string]*api.ContainerDefinition{}, volumes: map[string]bool{}}
	c.task()
	c.taskSize()
	c.taskVolumes()
	c.retired()
	c.containerList()
	for i := range def.ContainerDefinitions {
		c.container(i)
	}
	c.hostPorts()
	c.cycles()
	c.compatibility()
	c.problems = append(c.problems, CheckTags(def.Tags)...)
	if b, err := json.Marshal(def); err != nil {
		c.bad("", "Task definition cannot be encoded: %v", err)
	} else if len(b) > maxSize {
		c.bad("", "Actual length: '%d'. Max allowed length is '%d' bytes.", len(b), maxSize)
	}
	return c.problems
}

var (
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	imageForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,254}(?:@sha256:[A-Fa-f0-9]{64})?$`)
)

// oneOf checks an optional word.
func (c *checker) oneOf(field, value string, words ...string) {
	if value != "" && !slices.Contains(words, value) {
		c.bad(field, "Invalid value '%s'. Valid values: %s.", value, strings.Join(words, ", "))
	}
}

func (c *checker) between(field string, value *int, low, high int) {
	if value != nil && (*value < low || *value > high) {
		c.bad(field, "Invalid value %d: it must be between %d and %d.", *value, low, high)
	}
}

func (c *checker) task() {
	d := c.def
	switch {
	case d.Family == "":
		c.bad("family", "Family should not be null or empty.")
	case !nameForm.MatchString(d.Family):
		c.bad("family", "Invalid family '%s': up to 255 letters, numbers, hyphens and underscores are allowed.", clip(d.Family))
	}
	c.oneOf("networkMode", d.NetworkMode, api.NetworkBridge, api.NetworkHost, api.NetworkVPC, api.NetworkNone)
	c.oneOf("pidMode", d.PIDMode, "host", "task")
	c.oneOf("ipcMode", d.IPCMode, "host", "task", "none")
	for i, p := range d.PlacementConstraints {
		field := fmt.Sprintf("placementConstraints[%d]", i)
		if p.Type != "memberOf" {
			c.bad(field+".type", "Invalid placement constraint type '%s' for a task definition: use memberOf.", clip(p.Type))
		} else if _, err := placement.Parse(p.Expression); err != nil {
			c.bad(field+".expression", "Invalid expression: %v.", err)
		}
	}
	if p := d.RuntimePlatform; p != nil {
		c.oneOf("runtimePlatform.cpuArchitecture", p.CPUArchitecture, "X86_64", "ARM64")
		if o := p.OperatingSystemFamily; o != "" && o != "LINUX" && !strings.HasPrefix(o, "WINDOWS_SERVER_") {
			c.bad("runtimePlatform.operatingSystemFamily", "Invalid value '%s'.", clip(o))
		}
	}
	if p := d.ProxyConfiguration; p != nil {
		c.oneOf("proxyConfiguration.type", p.Type, "APPMESH")
		if d.NetworkMode != api.NetworkVPC {
			c.bad("proxyConfiguration", "proxyConfiguration requires networkMode=awsvpc.")
		}
		if !slices.ContainsFunc(d.ContainerDefinitions, func(cd api.ContainerDefinition) bool { return cd.Name == p.ContainerName }) {
			c.bad("proxyConfiguration.containerName", "Unknown container '%s'.", clip(p.ContainerName))
		}
	}
}

func (c *checker) taskSize() {
	var err error
	if c.cpu, err = ParseCPU(c.def.CPU); err != nil || c.def.CPU != "" && (c.cpu < minTaskCPU || c.cpu > maxTaskCPU) {
		c.bad("cpu", "Invalid 'cpu' setting for task.")
		c.cpu = 0
	}
	if c.memory, err = ParseMemory(c.def.Memory); err != nil || c.def.Memory != "" && c.memory < minMemory {
		c.bad("memory", "Invalid 'memory' setting for task.")
		c.memory = 0
	}
	cpu, memory := 0, 0
	for i := range c.def.ContainerDefinitions {
		cd := &c.def.ContainerDefinitions[i]
		cpu += clampSum(cd.CPU)
		memory += clampSum(reserved(cd))
	}
	if c.cpu > 0 && cpu > c.cpu {
		c.bad("cpu", "Invalid 'cpu' setting for task: the containers ask for %d CPU units, more than the task's %d.", cpu, c.cpu)
	}
	if c.memory > 0 && memory > c.memory {
		c.bad("memory", "Invalid 'memory' setting for task: the containers ask for %d MiB, more than the task's %d.", memory, c.memory)
	}
}

// clampSum keeps sums of hostile numbers from overflowing.
func clampSum(n int) int { return min(max(n, 0), 1<<40) }

func reserved(cd *api.ContainerDefinition) int {
	if cd.MemoryReservation > 0 {
		return cd.MemoryReservation
	}
	return cd.Memory
}

func (c *checker) containerList() {
	list := c.def.ContainerDefinitions
	switch {
	case len(list) == 0:
		c.bad("containerDefinitions", "Container list cannot be empty.")
		return
	case len(list) > maxContainers:
		c.bad("containerDefinitions", "A task definition can have at most %d containers.", maxContainers)
	}
	essential, routers := false, 0
	for i := range list {
		cd := &list[i]
		if c.containers[cd.Name] != nil {
			c.bad(fmt.Sprintf("containerDefinitions[%d].name", i), "Container names must be unique: '%s' is used more than once.", clip(cd.Name))
			continue
		}
		c.containers[cd.Name] = cd
		essential = essential || cd.IsEssential()
		if cd.FirelensConfiguration != nil {
			routers++
		}
	}
	if !essential {
		c.bad("containerDefinitions", "Task definition must have at least one essential container.")
	}
	if routers > 1 {
		c.bad("containerDefinitions", "At most one container can have a firelensConfiguration.")
	}
}

// CheckTags returns what ECS would refuse in a list of tags.
func CheckTags(tags []api.Tag) []Problem {
	c := &checker{}
	if len(tags) > maxTags {
		c.bad("tags", "The maximum number of tags is %d.", maxTags)
	}
	seen := map[string]bool{}
	for i, t := range tags {
		field := fmt.Sprintf("tags[%d].key", i)
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128:
			c.bad(field, "Tag keys must have 1 to 128 characters.")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			c.bad(field, "Tag keys must not begin with aws:.")
		case seen[t.Key]:
			c.bad(field, "Duplicate tag key '%s'.", clip(t.Key))
		}
		if len([]rune(t.Value)) > 256 {
			c.bad(fmt.Sprintf("tags[%d].value", i), "Tag values have at most 256 characters.")
		}
		seen[t.Key] = true
	}
	return c.problems
}

// clip keeps a hostile value from filling a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}
