package task

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Intake is what the acceptance of tasks depends on.
type Intake struct {
	GPUSupport bool
	Pause      Pause
}

// Pause is what pause containers are made of.
type Pause struct {
	Image  string            // of those that hold PID and IPC namespaces; empty when there is none
	Custom string            // of those that hold networks, in the place of Image; empty for Image
	Labels map[string]string // ECS_PAUSE_LABELS
}

// Accept normalises a task as it comes from ECS: the edges that links and
// volumesFrom imply are added and what can be known to be wrong is found (docs/spec/02
// sections 1.8, 3.3 and 3.6). It returns a new Spec, or the reason why the task is
// rejected as ECS shows it. Accepting an accepted Spec changes nothing.
func (in Intake) Accept(spec *Spec) (*Spec, string) {
	s := *spec
	s.Containers = slices.Clone(spec.Containers)
	for _, check := range []func(*Spec) error{checkContainers, addEdges, addRouting, checkVolumes, in.assignGPUs, addConnect, in.addPause, in.addNetworkPause} {
		if err := check(&s); err != nil {
			return nil, Unrunnable(spec.ARN, err.Error())
		}
	}
	if !resolvable(&s) {
		return nil, "Task dependencies cannot be resolved, taskArn: " + spec.ARN
	}
	return &s, ""
}

// Unrunnable is the reason of a task that cannot be run for a cause.
func Unrunnable(arn, cause string) string {
	return fmt.Sprintf("resource cannot be initialized for task %s: %s", arn, cause)
}

// NewState is the state of a task that has just been accepted. A task that is not
// asked to run at all is stopped at once (docs/spec/01 section 2.9.3).
func NewState(spec *Spec, desired Status, now time.Time) State {
	st := emptyState(spec, now)
	if desired < Created {
		desired = Stopped
	}
	Apply(spec, &st, Desire{Status: desired}, now, Rules{})
	return st
}

// RejectedState is the state of a task that was not accepted. Its containers stay
// at NONE: they are not reported (docs/spec/01 section 2.9.2).
func RejectedState(spec *Spec, reason string, now time.Time) State {
	st := emptyState(spec, now)
	st.Desired, st.Known, st.TerminalReason, st.StoppedAt = Stopped, Stopped, reason, now
	for i := range st.Containers {
		st.Containers[i].Desired = ContainerStopped
	}
	return st
}

func emptyState(spec *Spec, now time.Time) State {
	st := State{AcceptedAt: now, Containers: make([]ContainerState, len(spec.Containers))}
	if n := len(spec.Volumes); n > 0 {
		st.Volumes = make([]VolumeState, n)
	}
	if n := len(spec.Resources); n > 0 {
		st.Resources = make([]ResourceState, n)
	}
	return st
}

// Rejected reports whether the task was never accepted.
func (s *State) Rejected() bool {
	if s.Known != Stopped {
		return false
	}
	for i := range s.Containers {
		if s.Containers[i].Known != ContainerNone {
			return false
		}
	}
	return true
}

// RestoreState makes a state that was read from disk fit for use. A state that was
// lost begins anew: what the runtime shows fills it.
func RestoreState(spec *Spec, saved State, now time.Time) State {
	if len(saved.Containers) != len(spec.Containers) {
		return NewState(spec, max(Running, saved.Desired), now)
	}
	st := saved
	st.Containers = slices.Clone(saved.Containers)
	for i := range st.Containers {
		// Docker was not asked before a write of that: the former process may have asked, and
		// Docker may make the container after this one has looked.
		c := &st.Containers[i]
		c.CreateTried = c.CreateTried || c.DockerName != "" && c.RuntimeID == ""
	}
	st.Volumes = slices.Clone(saved.Volumes)
	if len(st.Volumes) != len(spec.Volumes) {
		st.Volumes = emptyState(spec, now).Volumes
	}
	st.Resources = slices.Clone(saved.Resources)
	if len(st.Resources) != len(spec.Resources) {
		st.Resources = emptyState(spec, now).Resources
	}
	if st.AcceptedAt.IsZero() {
		st.AcceptedAt = now
	}
	if st.Known != Stopped {
		Apply(spec, &st, Desire{Status: st.Desired}, now, Rules{})
	}
	return st
}

func checkContainers(s *Spec) error {
	if len(s.Containers) == 0 {
		return fmt.Errorf("the task has no containers")
	}
	seen := make(map[string]bool, len(s.Containers))
	for i := range s.Containers {
		name := s.Containers[i].Name
		if name == "" {
			return fmt.Errorf("container %d has no name", i)
		}
		if seen[name] {
			return fmt.Errorf("more than one container is named %s", name)
		}
		seen[name] = true
	}
	return nil
}

// addEdges adds the ordering edges that volumesFrom and links imply.
func addEdges(s *Spec) error {
	for i := range s.Containers {
		c := &s.Containers[i]
		edges := slices.Clone(c.DependsOn)
		for _, v := range c.VolumesFrom {
			if s.Index(v.SourceContainer) < 0 {
				return fmt.Errorf("could not find volume source container with name %s", v.SourceContainer)
			}
			edges = addEdge(edges, v.SourceContainer, DependsCreate)
		}
		for _, link := range c.Links {
			parts := strings.Split(link, ":")
			if len(parts) > 2 {
				return fmt.Errorf("invalid link format")
			}
			if s.Index(parts[0]) < 0 {
				return fmt.Errorf("could not find container for link %s", link)
			}
			edges = addEdge(edges, parts[0], DependsStart)
		}
		c.DependsOn = edges
	}
	return nil
}

func addEdge(edges []Dependency, on string, condition Condition) []Dependency {
	edge := Dependency{Container: on, Condition: condition}
	if slices.Contains(edges, edge) {
		return edges
	}
	return append(edges, edge)
}

func checkVolumes(s *Spec) error {
	for i := range s.Volumes {
		if v := &s.Volumes[i]; v.Docker != nil && v.Docker.Scope != VolumeShared && v.Docker.Autoprovision {
			return fmt.Errorf("volume [%s] : task scoped volume could not be autoprovisioned", v.Name)
		}
	}
	return nil
}

// VolumeShared is the scope of a Docker volume that outlives the task.
const VolumeShared = "shared"

// assignGPUs gives each GPU of the associations to its container (docs/spec/02
// section 4.8).
func (in Intake) assignGPUs(s *Spec) error {
	if !in.GPUSupport {
		return nil
	}
	for _, a := range s.Associations {
		if a.Type != "gpu" {
			continue
		}
		if len(a.Containers) != 1 {
			return fmt.Errorf("could not associate multiple containers to GPU %s", a.Name)
		}
		i := s.Index(a.Containers[0])
		if i < 0 {
			return fmt.Errorf("could not find container with name %s for associating GPU %s", a.Containers[0], a.Name)
		}
		if c := &s.Containers[i]; !slices.Contains(c.GPUs, a.Name) {
			c.GPUs = append(slices.Clone(c.GPUs), a.Name)
		}
	}
	return nil
}
