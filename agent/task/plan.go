package task

import "time"

// Moves are what may be done for a task now.
type Moves struct {
	// Steps may all run at once; each belongs to another container, volume or resource.
	Steps []Step
	// Marks are changes that need no worker. When there are any, apply them and plan
	// again before running steps; Settle does so.
	Marks []Event
	// Wake is when time alone may change the answer; zero when it cannot.
	Wake time.Time
	// Waits tells why containers do not move.
	Waits []Wait
}

// Plan decides what may be done next for a task (docs/spec/02 sections 2.2 to 2.4
// and 3.4). It changes nothing.
func Plan(spec *Spec, st *State, now time.Time, rules Rules) Moves {
	p := planner{spec: spec, st: st, now: now, rules: rules}
	if st.Desired != Stopped && st.Known != Stopped && !rules.Admitted {
		p.wait(Wait{Container: -1, For: WaitResources})
		return p.moves
	}
	if st.Desired != Stopped {
		p.volumes()
		p.resources()
	}
	for i := range spec.Containers {
		p.container(i)
	}
	p.unblock()
	p.agents()
	return p.moves
}

// Settle plans, and applies the marks to the state, until only steps are left. Each
// mark moves the state forward, so it ends.
func Settle(spec *Spec, st *State, now time.Time, rules Rules) Moves {
	for {
		moves := Plan(spec, st, now, rules)
		if len(moves.Marks) == 0 {
			return moves
		}
		for _, mark := range moves.Marks {
			Apply(spec, st, mark, now, rules)
		}
	}
}

type planner struct {
	spec  *Spec
	st    *State
	now   time.Time
	rules Rules
	moves Moves
	busy  bool // something is under way
}

func (p *planner) step(s Step)  { p.moves.Steps = append(p.moves.Steps, s) }
func (p *planner) mark(e Event) { p.moves.Marks = append(p.moves.Marks, e) }
func (p *planner) wait(w Wait)  { p.moves.Waits = append(p.moves.Waits, w) }

func (p *planner) wake(t time.Time) {
	if !t.IsZero() && (p.moves.Wake.IsZero() || t.Before(p.moves.Wake)) {
		p.moves.Wake = t
	}
}

func (p *planner) volumes() {
	for i := range p.spec.Volumes {
		switch {
		case !NeedsVolume(p.spec, i) || p.st.Volumes[i].Created:
		case VolumeNeedsNetwork(p.spec, i) && p.st.Containers[p.spec.NetworkContainer()].Known != ContainerResourcesProvisioned:
		case p.st.Volumes[i].Applied:
			p.busy = true
		default:
			p.step(Step{Kind: StepVolume, Container: -1, Volume: i})
		}
	}
}

// container decides for one container, in the order of docs/spec/02 section 2.3.
func (p *planner) container(i int) {
	c := &p.st.Containers[i]
	switch {
	case c.Uncertain:
		p.stop(i)
	case p.st.Known == Stopped, c.Known >= c.Desired && !c.Restarting:
	case c.Desired == ContainerStopped && c.Known.IsRunning():
		if j := stillNeeded(p.spec, p.st, i); j >= 0 && c.Applied == ContainerNone {
			p.wait(Wait{Container: i, For: WaitShutdown, On: j})
			return
		}
		p.stop(i)
	case c.Desired == ContainerStopped && c.Applied == ContainerRunning:
		p.busy = true
	case c.Desired == ContainerStopped:
		p.mark(Skip{Container: i})
	case c.Applied != ContainerNone:
		p.busy = true
	case c.Restarting:
		p.step(Step{Kind: StepRestart, Container: i})
	default:
		p.forward(i, c)
	}
}

func (p *planner) stop(i int) {
	c := &p.st.Containers[i]
	switch {
	case c.Applied != ContainerNone:
		p.busy = true
	case c.RetryAt.After(p.now):
		p.wake(c.RetryAt)
		p.wait(Wait{Container: i, For: WaitRuntime, Attempt: c.Retries + 1})
	default:
		p.step(Step{Kind: StepStop, Container: i})
	}
}

// forward plans the step to the container's next status, if nothing holds it back.
func (p *planner) forward(i int, c *ContainerState) {
	next := c.Known + 1
	if p.rules.NoExecutionCredentials && next <= ContainerPulled && pullsWithExecutionRole(&p.spec.Containers[i]) {
		p.wait(Wait{Container: i, For: WaitCredentials})
		return
	}
	unordered := next <= ContainerManifestPulled || p.rules.PullUpfront && next <= ContainerPulled
	if !unordered {
		v := dependencies(p.spec, p.st, i, next, p.now)
		p.wake(v.wake)
		if v.err != nil {
			p.mark(Refuse{Container: i, Err: v.err})
			return
		}
		if v.wait != nil {
			p.wait(*v.wait)
			return
		}
	}
	if next >= ContainerPulled {
		if v := p.missingVolume(i); v >= 0 {
			p.wait(Wait{Container: i, For: WaitVolume, On: v})
			return
		}
	}
	if r := p.missingResource(i, next); r >= 0 {
		p.wait(Wait{Container: i, For: WaitProvision, On: r})
		return
	}
	p.step(Step{Kind: stepTo(next), Container: i})
}

// missingVolume returns a volume that the container mounts and that does not exist
// yet, or -1.
func (p *planner) missingVolume(i int) int {
	for _, m := range p.spec.Containers[i].MountPoints {
		for v := range p.spec.Volumes {
			if p.spec.Volumes[v].Name == m.SourceVolume && NeedsVolume(p.spec, v) && !p.st.Volumes[v].Created {
				return v
			}
		}
	}
	return -1
}

// unblock deals with a task in which nothing moves (docs/spec/02 section 2.2).
func (p *planner) unblock() {
	if p.busy || len(p.moves.Steps) > 0 || len(p.moves.Marks) > 0 || p.st.Known == Stopped || !p.moves.Wake.IsZero() {
		return
	}
	if p.st.Desired == Stopped {
		// Only containers that wait for each other can be left.
		for _, w := range p.moves.Waits {
			p.stop(w.Container)
		}
		if len(p.moves.Waits) == 0 {
			p.mark(GiveUp{})
		}
		return
	}
	if len(p.moves.Waits) == 0 && (p.st.Desired < Running || !essentialsSteady(p.spec, p.st)) {
		p.mark(Desire{Status: Stopped})
	}
}

func essentialsSteady(spec *Spec, st *State) bool {
	for i := range spec.Containers {
		if c := &spec.Containers[i]; c.Essential && st.Containers[i].Known != c.SteadyStatus() {
			return false
		}
	}
	return true
}

func pullsWithExecutionRole(c *Container) bool {
	return c.RegistryAuth != nil && c.RegistryAuth.ECR != nil && c.RegistryAuth.ECR.UseExecutionRole
}

// VolumeNeedsNetwork reports whether a volume is mounted over the network of its task,
// which has to be there before: a file system, in a task that has a network of its own.
func VolumeNeedsNetwork(spec *Spec, volume int) bool {
	v := &spec.Volumes[volume]
	return (v.Type == VolumeEFS || v.Type == VolumeS3) && spec.NetworkContainer() >= 0
}

// NeedsVolume reports whether a volume of the task is one that Docker must have
// before containers use it: a Docker volume, a file system that Docker mounts, or a host
// volume without a path that some container mounts (docs/spec/02 section 4.9).
func NeedsVolume(spec *Spec, volume int) bool {
	v := &spec.Volumes[volume]
	switch {
	case v.Docker != nil, v.Type == VolumeEFS, v.Type == VolumeS3:
		return true
	case v.Type == VolumeHost && (v.Host == nil || v.Host.SourcePath == ""):
		for i := range spec.Containers {
			for _, m := range spec.Containers[i].MountPoints {
				if m.SourceVolume == v.Name {
					return true
				}
			}
		}
	}
	return false
}
