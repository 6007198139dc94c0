package task

import "slices"

// Resource is something that containers of a task need besides images and Docker
// volumes: a cgroup, secrets, files (docs/spec/02 chapter 7). A hook of the engine
// makes and removes it; the planner only knows that containers wait for it. It is
// durable from the task's acceptance on, and never holds a secret.
type Resource struct {
	Kind string // of the hook
	Name string // unique in the task, as docs/spec/02 section 7.1 has it
	// Text tells a person what is waited for, e.g. "secrets of Parameter Store".
	Text string
	// Containers are those that need it; none means all of the task.
	Containers []string `json:",omitempty"`
	// Before is the first status that they do not reach without it.
	Before ContainerStatus
	// NeedsRole says that it is made with the credentials of the task's execution role,
	// and waits for them.
	NeedsRole bool `json:",omitempty"`
	// Blames says that a failure is that of its containers; otherwise the task stops.
	Blames bool `json:",omitempty"`
	// Data is what the hook chose, such as the name of a directory: it is on disk before
	// anything is made.
	Data map[string]string `json:",omitempty"`
}

// For reports whether the named container needs the resource.
func (r *Resource) For(container string) bool {
	return len(r.Containers) == 0 || slices.Contains(r.Containers, container)
}

// ResourceState is what is known of a Resource.
type ResourceState struct {
	// Created says that this process made it. What the hook gives to containers lives in
	// memory, so after a restart it is made again while one has not run yet.
	Created bool `json:"-"`
	Applied bool `json:"-"` // it is being made
	// Data is what the hook must know to remove it again; never a secret.
	Data map[string]string `json:",omitempty"`
}

// ResourceNeeded reports whether some container that needs the resource has not run
// yet: one that is created may have to be made anew, when its host ports were taken.
func ResourceNeeded(spec *Spec, st *State, resource int) bool {
	r := &spec.Resources[resource]
	for i := range spec.Containers {
		if c := &st.Containers[i]; c.Desired != ContainerStopped && c.Known < ContainerRunning && r.For(spec.Containers[i].Name) {
			return true
		}
	}
	return false
}

// missingResource returns a resource that the container needs before a status and
// that is not there, or -1.
func (p *planner) missingResource(i int, next ContainerStatus) int {
	if next > ContainerRunning {
		return -1
	}
	for r := range p.spec.Resources {
		resource := &p.spec.Resources[r]
		if next >= resource.Before && !p.st.Resources[r].Created && resource.For(p.spec.Containers[i].Name) {
			return r
		}
	}
	return -1
}

// resources plans those that are not there and that a container will need.
func (p *planner) resources() {
	for i := range p.spec.Resources {
		r, st := &p.spec.Resources[i], &p.st.Resources[i]
		switch {
		case st.Created:
		case st.Applied:
			p.busy = true
		case !ResourceNeeded(p.spec, p.st, i):
		case r.NeedsRole && p.rules.NoExecutionCredentials:
			p.wait(Wait{Container: -1, For: WaitCredentials})
		default:
			p.step(Step{Kind: StepResource, Container: -1, Resource: i})
		}
	}
}

// doneResource: a resource that could not be made stops the task, or the containers
// that need it.
func (a *applier) doneResource(d *Done) {
	r, st := &a.spec.Resources[d.Step.Resource], &a.st.Resources[d.Step.Resource]
	st.Applied = false
	if d.Data != nil {
		st.Data = d.Data
	}
	a.setUpAgents(d.Agents)
	switch {
	case d.Err == nil:
		st.Created = true
	case a.st.Desired == Stopped: // it may have been interrupted for that
	case !r.Blames && d.Err.Name == "":
		a.fail(ResourceReason(d.Err.Message))
	case !r.Blames:
		a.fail(ResourceReason(d.Err.Error()))
	default:
		for i := range a.spec.Containers {
			if c := &a.st.Containers[i]; r.For(a.spec.Containers[i].Name) && c.Known < ContainerRunning {
				c.Desired = ContainerStopped
				a.blame(c, d.Err)
			}
		}
	}
}
