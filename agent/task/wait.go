package task

import "fmt"

// WaitFor is what a container waits for.
type WaitFor uint8

// What a container, or the whole task, may wait for.
const (
	WaitResources   WaitFor = iota + 1 // the task: host resources
	WaitDependency                     // a condition on another container
	WaitShutdown                       // another container that must stop first
	WaitVolume                         // a volume
	WaitCredentials                    // the execution role's credentials
	WaitRuntime                        // another attempt to stop a container
	WaitStep                           // the end of a step that is under way
	WaitLook                           // the first look at Docker after the agent started
	WaitState                          // the disk to take the task's state
	WaitReport                         // ECS to accept what is known
	WaitProvision                      // a resource of the task
)

var waitNames = map[WaitFor]string{
	WaitResources: "resources", WaitDependency: "dependency", WaitShutdown: "shutdown", WaitVolume: "volume",
	WaitCredentials: "credentials", WaitRuntime: "docker", WaitStep: "step", WaitLook: "docker",
	WaitState: "state", WaitReport: "report", WaitProvision: "provision",
}

// String is the word that introspection shows. A step shows its own.
func (w WaitFor) String() string { return nameOf(waitNames, w) }

// Wait tells why a container does not move.
type Wait struct {
	Container int // -1 for the whole task
	For       WaitFor
	On        int // the other container, the volume or the resource
	Condition Condition
	Step      StepKind // of WaitStep
	Attempt   int      // of WaitStep when it stops a container, and of WaitRuntime; from 1
	Status    Status   // of WaitReport
}

// Same reports whether it is the same wait, be it at another attempt.
func (w Wait) Same(other Wait) bool {
	w.Attempt, other.Attempt = 0, 0
	return w == other
}

// Word is what is waited for, in one word.
func (w Wait) Word() string {
	if w.For != WaitStep {
		return w.For.String()
	}
	switch w.Step {
	case StepManifest, StepPull:
		return "image"
	case StepVolume:
		return "volume"
	case StepProvision:
		return "network"
	case StepResource:
		return "provision"
	}
	return "docker"
}

// Text renders the wait for a log or a person.
func (w Wait) Text(spec *Spec) string {
	switch w.For {
	case WaitResources:
		return "waiting for host resources"
	case WaitDependency:
		return fmt.Sprintf("waiting for container %s: %s", spec.Containers[w.On].Name, w.Condition)
	case WaitShutdown:
		return fmt.Sprintf("dependency graph: target %s needs other containers stopped before it can stop: [%s]",
			spec.Containers[w.Container].Name, spec.Containers[w.On].Name)
	case WaitVolume:
		return "waiting for volume " + spec.Volumes[w.On].Name
	case WaitCredentials:
		return "waiting for execution role credentials"
	case WaitProvision:
		return "waiting for " + spec.Resources[w.On].Text
	}
	return "waiting for Docker to stop it"
}

// Detail tells a person what is waited for.
func (w Wait) Detail(spec *Spec) string {
	switch w.For {
	case WaitResources:
		return "host resources"
	case WaitDependency:
		name := spec.Containers[w.On].Name
		if w.Condition == DependsHealthy {
			return "health of " + name
		}
		return fmt.Sprintf("dependency %s to be %s", name, w.Condition)
	case WaitShutdown:
		return fmt.Sprintf("container %s, which depends on it, to stop", spec.Containers[w.On].Name)
	case WaitVolume:
		return "volume " + spec.Volumes[w.On].Name
	case WaitCredentials:
		return "credentials of the task execution role"
	case WaitProvision:
		return spec.Resources[w.On].Text
	case WaitRuntime:
		return fmt.Sprintf("Docker to stop container %s%s", spec.Containers[w.Container].Name, attemptText(w.Attempt))
	case WaitLook:
		return "Docker to show which containers exist"
	case WaitState:
		return "the disk to take the state of the task"
	case WaitReport:
		return fmt.Sprintf("ECS to accept that it is %s", w.Status)
	}
	return w.stepDetail(spec)
}

func (w Wait) stepDetail(spec *Spec) string {
	switch w.Step {
	case StepVolume:
		return "Docker to create volume " + spec.Volumes[w.On].Name
	case StepResource:
		return spec.Resources[w.On].Text
	}
	c := &spec.Containers[w.Container]
	switch w.Step {
	case StepManifest:
		return fmt.Sprintf("digest of %s", c.Image)
	case StepPull:
		return fmt.Sprintf("pull of %s", c.Image)
	case StepProvision:
		return "the network of container " + c.Name
	}
	return fmt.Sprintf("Docker to %s container %s%s", w.Step, c.Name, attemptText(w.Attempt))
}

func attemptText(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s attempt)", Ordinal(n))
}

// Ordinal is 1st, 2nd, 3rd and so on.
func Ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}
