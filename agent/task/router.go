package task

import (
	"encoding/json"
	"slices"
	"strconv"
)

// FireLensDriver is the log driver of containers that log to the task's FireLens
// container, its log router (docs/spec/02 section 7.6).
const FireLensDriver = "awsfirelens"

// Types of FireLens containers.
const (
	FluentD   = "fluentd"
	FluentBit = "fluentbit"
)

// LogConfig is a log driver with its options.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// LogConfig is what ECS rendered for the container's log; empty when it cannot be read,
// which fails the container when it is created.
func (c *Container) LogConfig() LogConfig {
	var host struct{ LogConfig LogConfig }
	if c.DockerHostConfig == "" || json.Unmarshal([]byte(c.DockerHostConfig), &host) != nil {
		return LogConfig{}
	}
	return host.LogConfig
}

// Router returns the position of the task's FireLens container, or -1.
func (s *Spec) Router() int {
	return slices.IndexFunc(s.Containers, func(c Container) bool { return c.FireLens != nil })
}

// Routed reports whether container i logs to the FireLens container of its task.
func (s *Spec) Routed(i int) bool {
	return s.Router() >= 0 && s.Containers[i].LogConfig().Type == FireLensDriver
}

// RouterVariable is the variable of the FireLens container that has the value of a secret
// log option of container i.
func (s *Spec) RouterVariable(i int, option string) string {
	index := 0
	for k := range i {
		if !s.Containers[k].Internal() {
			index++
		}
	}
	return option + "_" + strconv.Itoa(index)
}

// IsVariable reports whether the secret is a variable of its container; one of type
// ENVIRONMENT_VARIABLE is, whatever its target says (docs/spec/02 section 4.5).
func (s *Secret) IsVariable() bool { return s.Type == "ENVIRONMENT_VARIABLE" }

// IsLogOption reports whether the secret is an option of its container's log driver.
func (s *Secret) IsLogOption() bool { return !s.IsVariable() && s.Target == "LOG_DRIVER" }

// addRouting makes containers that log to the FireLens container start after it, unless
// they wait for it anyway, or it waits for them.
func addRouting(s *Spec) error {
	r := s.Router()
	if r < 0 {
		return nil
	}
	router := s.Containers[r].Name
	for i := range s.Containers {
		c := &s.Containers[i]
		if i == r || !s.Routed(i) || s.waitsFor(r, i) {
			continue
		}
		if !slices.ContainsFunc(c.DependsOn, func(d Dependency) bool { return d.Container == router && d.Condition != DependsCreate }) {
			c.DependsOn = addEdge(slices.Clone(c.DependsOn), router, DependsStart)
		}
	}
	return nil
}

// waitsFor reports whether a container waits for another one, or for one that does.
func (s *Spec) waitsFor(container, other int) bool {
	seen := make([]bool, len(s.Containers))
	var reaches func(i int) bool
	reaches = func(i int) bool {
		if i == other {
			return true
		}
		seen[i] = true
		for _, edge := range s.Containers[i].DependsOn {
			if d := s.Index(edge.Container); d >= 0 && !seen[d] && reaches(d) {
				return true
			}
		}
		return false
	}
	return reaches(container)
}
