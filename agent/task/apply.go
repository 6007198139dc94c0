package task

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Apply works an event into the state (docs/spec/02 sections 2.6 and 2.7). It is
// total: an event that does not fit the state changes nothing. Values behind
// pointers and slices of the state are replaced, never changed, because snapshots
// share them.
func Apply(spec *Spec, st *State, event Event, now time.Time, rules Rules) {
	a := applier{spec: spec, st: st, now: now, rules: rules}
	switch e := event.(type) {
	case Desire:
		st.Desired = max(st.Desired, e.Status)
	case Begin:
		a.begin(e.Step)
	case Done:
		a.done(&e)
	case Seen:
		a.seen(&e)
	case Exit:
		a.exit(&e, true)
	case Vanish:
		a.vanish(e.Container)
	case Probe:
		a.health(e.Container, e.Health, e.Output)
	case Fail:
		a.fail(e.Reason)
	case Skip:
		a.skip(e.Container)
	case Refuse:
		a.refuse(&e)
	case Rename:
		a.rename(&e)
	case AgentExit:
		a.agentExit(&e)
	case AgentLook:
		a.agentLook(e.Container)
	case GiveUp:
		a.fail("TaskStateError: Agent could not progress task's state to stopped")
		st.Known = Stopped
	}
	a.derive()
}

type applier struct {
	spec  *Spec
	st    *State
	now   time.Time
	rules Rules
}

func (a *applier) begin(s Step) {
	switch s.Kind {
	case StepVolume:
		a.st.Volumes[s.Volume].Applied = true
		return
	case StepResource:
		a.st.Resources[s.Resource].Applied = true
		return
	case StepAgent:
		a.st.Containers[s.Container].changeAgent(func(g *ExecAgent) { g.Applied = true })
		return
	}
	c := &a.st.Containers[s.Container]
	c.Applied = s.Kind.Target()
	c.CreateTried = c.CreateTried || s.Kind == StepCreate
}

func (a *applier) done(d *Done) {
	if d.Step.Kind == StepVolume {
		v := &a.st.Volumes[d.Step.Volume]
		v.Applied = false
		if d.Err != nil {
			a.fail(d.Err.Message)
			return
		}
		v.Created = true
		return
	}
	switch d.Step.Kind {
	case StepResource:
		a.doneResource(d)
		return
	case StepAgent:
		a.doneAgent(d)
		return
	}
	c := &a.st.Containers[d.Step.Container]
	if c.Applied != d.Step.Kind.Target() {
		// Stopped meanwhile; what was made must still be found by clean-up.
		if c.RuntimeID == "" {
			c.RuntimeID = d.RuntimeID
		}
		return
	}
	c.Applied = ContainerNone
	switch d.Step.Kind {
	case StepManifest, StepPull:
		a.doneImage(c, d)
	case StepCreate, StepStart, StepProvision:
		a.doneForward(c, d)
	case StepRestart:
		a.doneRestart(c, d)
	case StepStop:
		a.doneStop(c, d)
	}
}

// doneImage: a failed pull stops the task or not, as the pull behaviour says; either
// way the step is over.
func (a *applier) doneImage(c *ContainerState, d *Done) {
	c.Known = max(c.Known, d.Step.Kind.Target())
	if c.ImageDigest == "" {
		c.ImageDigest = d.Digest
	}
	if d.ImageID != "" {
		c.ImageID = d.ImageID
	}
	if !d.PullStart.IsZero() && (a.st.PullStartedAt.IsZero() || d.PullStart.Before(a.st.PullStartedAt)) {
		a.st.PullStartedAt = d.PullStart
	}
	if d.PullStop.After(a.st.PullStoppedAt) {
		a.st.PullStoppedAt = d.PullStop
	}
	if d.Err == nil {
		if d.Step.Kind == StepPull {
			forgive(c)
		}
		return
	}
	upfront := d.Step.Kind == StepPull && a.rules.PullUpfront && a.rules.Pull != PullAlways
	if upfront && d.ImageID != "" {
		return // the exact image is there: as good as pulled
	}
	a.blame(c, d.Err)
	if a.rules.Pull.strict() {
		a.st.Desired = Stopped
	} else if upfront && a.spec.Containers[d.Step.Container].Essential {
		a.fail(d.Err.Error())
	}
}

func (a *applier) doneForward(c *ContainerState, d *Done) {
	if d.RuntimeID != "" {
		c.RuntimeID = d.RuntimeID
	}
	if len(d.HostPorts) > 0 {
		c.HostPorts = d.HostPorts
	}
	if d.Err != nil {
		c.Desired = ContainerStopped
		c.Uncertain = d.Uncertain
		a.blame(c, d.Err)
		a.merge(d.Step.Container, d.Sight)
		return
	}
	forgive(c)
	if d.LocalAddress != "" {
		c.LocalAddress = d.LocalAddress
	}
	sight := d.Sight
	if sight != nil && sight.Status == ContainerStopped {
		// The exit that follows brings its end: by that it is known as one not dealt with.
		running := *sight
		running.FinishedAt = time.Time{}
		sight = &running
	}
	a.merge(d.Step.Container, sight)
	a.raise(c, d.Step.Kind.Target())
}

func (a *applier) doneRestart(c *ContainerState, d *Done) {
	c.Restarting = false
	if d.Err != nil {
		c.Uncertain = d.Uncertain
		a.blame(c, d.Err)
		a.raise(c, ContainerStopped)
		return
	}
	c.ExitCode = nil
	if d.Sight != nil && d.Sight.Status == ContainerStopped {
		return // the exit that follows brings what was seen, and is not one dealt with
	}
	a.merge(d.Step.Container, d.Sight)
}

func (a *applier) doneStop(c *ContainerState, d *Done) {
	if d.Unstopped {
		if d.Err != nil {
			a.blame(c, d.Err)
		}
		c.Retries++
		c.RetryAt = a.now.Add(min(time.Second<<min(c.Retries, 6), time.Minute))
		return
	}
	c.Restarting, c.Uncertain, c.Desired = false, false, ContainerStopped
	if c.Known == ContainerStopped { // it had come back after its end
		if d.Sight != nil && d.Sight.FinishedAt.After(c.FinishedAt) {
			c.FinishedAt = d.Sight.FinishedAt
		}
		return
	}
	a.merge(d.Step.Container, d.Sight)
	if d.Err != nil {
		a.blame(c, d.Err)
	} else if d.Sight != nil {
		a.blameSight(c, d.Sight)
	}
	a.raise(c, ContainerStopped)
}

// seen works in what the runtime shows. Steps bring their own results, so a
// container with a step under way is left alone.
func (a *applier) seen(e *Seen) {
	c, s := &a.st.Containers[e.Container], &e.Sight
	if c.Applied >= ContainerCreated {
		return
	}
	switch s.Status {
	case ContainerStopped:
		a.exit(&Exit{Container: e.Container, ExitCode: s.ExitCode, Sight: s, Time: s.FinishedAt}, !e.Startup)
	case ContainerRunning:
		if c.Known == ContainerStopped {
			c.Uncertain = true // back from the dead: stop it again
			return
		}
		if c.Restarting {
			c.Restarting = false
			c.ExitCode = nil
		}
		a.merge(e.Container, s)
		a.raise(c, ContainerRunning)
	case ContainerCreated:
		if c.Known == ContainerStopped {
			return
		}
		a.merge(e.Container, s)
		a.raise(c, ContainerCreated)
	}
}

// exit ends a container, or has it restarted in place (docs/spec/02 section 8.3).
func (a *applier) exit(e *Exit, restartable bool) {
	c := &a.st.Containers[e.Container]
	if c.Known == ContainerStopped || c.Restarting || c.Applied >= ContainerCreated {
		return
	}
	policy := a.spec.Containers[e.Container].Restart
	restarts := policy != nil && policy.Enabled
	if s := e.Sight; restarts && s != nil {
		if s.Status == ContainerRunning {
			a.merge(e.Container, s)
			return // it runs again already
		}
		if !s.FinishedAt.IsZero() && !s.FinishedAt.After(c.FinishedAt) {
			return // an exit that was dealt with
		}
	}
	a.merge(e.Container, e.Sight)
	if e.ExitCode != nil && (e.Sight == nil || e.Sight.ExitCode == nil) {
		c.ExitCode = e.ExitCode
	}
	if e.Time.After(c.FinishedAt) {
		c.FinishedAt = e.Time
	}
	if restarts && restartable && a.mayRestart(c, policy) {
		c.Restarting = true
		c.RestartCount++
		c.LastRestartAt = a.now
		c.stopAgent()
		return
	}
	if e.Sight != nil {
		a.blameSight(c, e.Sight)
	}
	a.raise(c, ContainerStopped)
}

func (a *applier) mayRestart(c *ContainerState, policy *RestartPolicy) bool {
	if c.Desired == ContainerStopped || c.ExitCode == nil {
		return false
	}
	for _, ignored := range policy.IgnoredExitCodes {
		if *c.ExitCode == ignored {
			return false
		}
	}
	since := c.LastRestartAt
	if since.IsZero() {
		since = c.StartedAt
	}
	return a.now.Sub(since) >= policy.AttemptPeriod
}

func (a *applier) vanish(i int) {
	c := &a.st.Containers[i]
	if c.Known == ContainerStopped || c.Applied >= ContainerCreated {
		return
	}
	c.Restarting, c.Uncertain = false, false
	a.blame(c, &Error{Name: "ContainerVanishedError", Message: "No container matching saved ID found"})
	a.raise(c, ContainerStopped)
}

func (a *applier) skip(i int) {
	c := &a.st.Containers[i]
	if c.Known.IsRunning() || c.Applied == ContainerRunning {
		return
	}
	c.Desired, c.Applied = ContainerStopped, ContainerNone
	a.raise(c, ContainerStopped)
}

func (a *applier) rename(e *Rename) {
	c := &a.st.Containers[e.Container]
	if c.Known >= ContainerRunning {
		return
	}
	if c.RuntimeID != "" {
		c.Discarded = append(slices.Clone(c.Discarded), c.RuntimeID)
	}
	c.DockerName, c.RuntimeID, c.HostPorts = e.Name, "", e.HostPorts
}

// refusedExit is the exit code of a container that was given up because of its
// dependencies (docs/spec/02 section 3.7).
const refusedExit = 143

func (a *applier) refuse(e *Refuse) {
	c := &a.st.Containers[e.Container]
	if c.Known >= ContainerRunning || c.Desired == ContainerStopped {
		return
	}
	code := refusedExit
	c.Desired, c.ExitCode = ContainerStopped, &code
	a.blame(c, e.Err)
}

// fail records why the task must stop; the first reason is kept.
func (a *applier) fail(reason string) {
	a.st.Desired = Stopped
	if a.st.TerminalReason == "" {
		a.st.TerminalReason = reason
	}
}

// ResourceReason renders the failure of a resource of the task as ECS shows it:
// white space is folded and the first letter capitalised (docs/spec/02 section 2.4).
func ResourceReason(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return text
	}
	return string(unicode.ToTitle(first)) + text[size:]
}

// blame records the first error that applied to the container.
func (a *applier) blame(c *ContainerState, err *Error) {
	if c.Error == nil {
		c.Error = err
	}
}

// forgive drops an error that a later success shows to have done no harm. What a
// container is being stopped for stays, when a step that was under way succeeds.
func forgive(c *ContainerState) {
	if c.Desired != ContainerStopped {
		c.Error = nil
	}
}

func (a *applier) blameSight(c *ContainerState, s *Sight) {
	switch {
	case s.OOM:
		a.blame(c, &Error{Name: "OutOfMemoryError", Message: "Container killed due to memory usage"})
	case s.StateError != "":
		a.blame(c, &Error{Name: "DockerStateError", Message: s.StateError})
	}
}

// raise moves the container's known status forward, never back.
func (a *applier) raise(c *ContainerState, to ContainerStatus) {
	if to <= c.Known {
		return
	}
	c.Known = to
	if to.IsRunning() && c.StartedAt.IsZero() {
		c.StartedAt = a.now
	}
	if to == ContainerStopped {
		c.Restarting = false
		c.stopAgent()
	}
}
