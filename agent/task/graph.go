package task

import (
	"fmt"
	"strings"
	"time"
)

// verdict is what a container's dependencies say about its next step.
type verdict struct {
	wait *Wait     // not yet
	err  *Error    // never
	wake time.Time // when the answer may change by itself
}

// dependencies evaluates the ordering edges of a container (docs/spec/02 sections
// 3.2 to 3.7) for its next status. The list is scanned in order; a dependency that can
// never be met wins over one that is not met yet. Images are pulled while a pause
// container starts, and pause containers start together: only the network of one may wait
// for that of another.
func dependencies(spec *Spec, st *State, target int, next ContainerStatus, now time.Time) (v verdict) {
	for _, edge := range spec.Containers[target].DependsOn {
		d := spec.Index(edge.Container)
		if d < 0 {
			v.err = dependencyError(fmt.Sprintf("container ordering dependency [<nil>] for target [%s] does not exist.",
				describe(spec, st, target)))
			return v
		}
		if spec.Containers[d].Internal() && (next < ContainerCreated || spec.Containers[target].Internal() && next <= ContainerRunning) {
			continue
		}
		met := satisfied(spec, st, target, d, edge.Condition)
		deadline := startDeadline(spec, st, target, d, edge.Condition)
		if !met && !deadline.IsZero() && !now.Before(deadline) {
			v.err = dependencyError(fmt.Sprintf("container ordering dependency [%s] for target [%s] has timed out.",
				describe(spec, st, d), describe(spec, st, target)))
			return v
		}
		if because := impossible(st, d, edge.Condition); because != "" {
			v.err = dependencyError(fmt.Sprintf("failed to resolve container ordering dependency [%s] for target [%s] %s",
				describe(spec, st, d), describe(spec, st, target), because))
			return v
		}
		if met {
			continue
		}
		if v.wait == nil {
			v.wait = &Wait{Container: target, For: WaitDependency, On: d, Condition: edge.Condition}
		}
		if !deadline.IsZero() && (v.wake.IsZero() || deadline.Before(v.wake)) {
			v.wake = deadline
		}
	}
	return v
}

// satisfied evaluates a condition (docs/spec/02 section 3.2). Unlike the table
// there, START wants a container that really started.
func satisfied(spec *Spec, st *State, target, dep int, condition Condition) bool {
	d := &st.Containers[dep]
	steady := d.Known == spec.Containers[dep].SteadyStatus()
	switch condition {
	case DependsCreate:
		return d.Known >= ContainerCreated
	case DependsStart:
		if steady || d.Known == ContainerStopped && !d.StartedAt.IsZero() {
			return true
		}
		return st.Containers[target].Desired == ContainerCreated && d.Known == ContainerCreated
	case DependsComplete:
		return d.Known == ContainerStopped && d.ExitCode != nil
	case DependsSuccess:
		return d.Known == ContainerStopped && d.ExitCode != nil && *d.ExitCode == 0
	case DependsHealthy:
		return d.Known.IsRunning() && reportsHealth(&spec.Containers[dep]) && d.Health == HealthHealthy
	}
	return false
}

// impossible says why a condition can never be met any more; empty while it can.
func impossible(st *State, dep int, condition Condition) string {
	d := &st.Containers[dep]
	stopped := d.Known == ContainerStopped
	neverRan := d.Known < ContainerRunning && d.Desired == ContainerStopped && d.Applied == ContainerNone ||
		stopped && d.StartedAt.IsZero()
	switch {
	case condition == DependsSuccess && stopped && (d.ExitCode == nil || *d.ExitCode != 0):
		return "as dependency did not exit successfully."
	case neverRan:
		return "because dependency will never start"
	case condition == DependsHealthy && stopped:
		return "because dependency stopped and will never be healthy"
	case condition == DependsComplete && stopped && d.ExitCode == nil:
		return "because dependency stopped without an exit code"
	}
	return ""
}

// startDeadline is when the dependency's start timeout ends; zero when none applies
// (docs/spec/02 section 3.7).
func startDeadline(spec *Spec, st *State, target, dep int, condition Condition) time.Time {
	d, limit := &st.Containers[dep], spec.Containers[dep].StartTimeout
	if limit <= 0 || d.StartedAt.IsZero() || d.Known == ContainerStopped ||
		st.Containers[target].Known >= ContainerCreated {
		return time.Time{}
	}
	switch condition {
	case DependsSuccess, DependsComplete, DependsHealthy:
		return d.StartedAt.Add(limit)
	}
	return time.Time{}
}

// stillNeeded returns a container that depends on this one and has not stopped, or
// -1: it must stop first (docs/spec/02 section 3.5).
func stillNeeded(spec *Spec, st *State, container int) int {
	name := spec.Containers[container].Name
	for j := range spec.Containers {
		if j == container || st.Containers[j].Known == ContainerStopped {
			continue
		}
		for _, edge := range spec.Containers[j].DependsOn {
			if edge.Container == name {
				return j
			}
		}
	}
	return -1
}

// reportsHealth reports whether ECS asked for the health that Docker checks.
func reportsHealth(c *Container) bool { return strings.EqualFold(c.HealthCheckType, "docker") }

// describe renders a container as the texts of docs/spec/02 section 3.7 do.
func describe(spec *Spec, st *State, i int) string {
	c, s := &spec.Containers[i], &st.Containers[i]
	text := fmt.Sprintf("%s(%s) (%s->%s)", c.Name, c.Image, s.Known, s.Desired)
	if s.ExitCode != nil {
		text += fmt.Sprintf(" - Exit: %d", *s.ExitCode)
	}
	return text
}

func dependencyError(text string) *Error {
	return &Error{Name: "CannotStartContainerError", Message: "dependency graph: " + text}
}

// resolvable is the check at intake that every dependency could be met
// (docs/spec/02 section 3.6): containers whose dependencies are all settled are
// taken away until none is left.
func resolvable(spec *Spec) bool {
	settled := make(map[string]bool, len(spec.Containers))
	for progress := true; progress; {
		progress = false
		for i := range spec.Containers {
			if c := &spec.Containers[i]; !settled[c.Name] && allSettled(spec, c, settled) {
				settled[c.Name], progress = true, true
			}
		}
	}
	return len(settled) == len(spec.Containers)
}

func allSettled(spec *Spec, c *Container, settled map[string]bool) bool {
	for _, edge := range c.DependsOn {
		if !settled[edge.Container] {
			return false
		}
		switch edge.Condition {
		case DependsCreate, DependsStart, DependsComplete, DependsSuccess:
		case DependsHealthy:
			if !reportsHealth(&spec.Containers[spec.Index(edge.Container)]) {
				return false
			}
		default:
			return false
		}
	}
	return true
}
