package task

import "time"

// derive brings the task's own statuses in line with its containers' and theirs in
// line with the task's (docs/spec/02 sections 1.6 and 2.7).
func (a *applier) derive() {
	a.deriveDesired()
	a.deriveKnown()
	floor := containerFloor(a.st.Desired)
	for i := range a.st.Containers {
		c := &a.st.Containers[i]
		want := floor
		if a.st.Desired == Running {
			want = a.spec.Containers[i].SteadyStatus()
		}
		c.Desired = max(c.Desired, want)
	}
}

func containerFloor(desired Status) ContainerStatus {
	switch desired {
	case Created:
		return ContainerCreated
	case Stopped:
		return ContainerStopped
	}
	return ContainerNone
}

func (a *applier) deriveDesired() {
	for i := range a.spec.Containers {
		c, s := &a.spec.Containers[i], &a.st.Containers[i]
		if !c.Essential {
			continue
		}
		if s.Known == ContainerStopped && a.st.ExecutionStoppedAt.IsZero() {
			a.st.ExecutionStoppedAt = a.now
		}
		if s.Known != ContainerStopped && s.Desired != ContainerStopped {
			continue
		}
		asked := a.st.Desired == Stopped
		a.st.Desired = Stopped
		switch { // nobody else would tell of an internal container
		case !c.Internal():
		case s.Error != nil:
			a.fail(s.Error.Error())
		case !asked, a.tookAlong(i):
			a.fail("Container " + c.Name + " of the agent ended, and the namespaces of the task with it" + exitText(s.ExitCode))
		}
	}
}

// killed is the exit code of a container that SIGKILL ended.
const killed = 137

// tookAlong reports whether a pause container that ended after others took them along.
// Its end is theirs where it holds their PID namespace, and the kernel lets it end last.
// When it is stopped it ends by itself, or is killed only after a second.
func (a *applier) tookAlong(pause int) bool {
	p := &a.st.Containers[pause]
	if p.Known != ContainerStopped || p.ExitCode == nil || *p.ExitCode != killed {
		return false
	}
	for i := range a.spec.Containers {
		c, s := &a.spec.Containers[i], &a.st.Containers[i]
		if c.Essential && !c.Internal() && s.Known == ContainerStopped && s.ExitCode != nil && *s.ExitCode == killed &&
			p.FinishedAt.Sub(s.FinishedAt).Abs() < time.Second {
			return true
		}
	}
	return false
}

// deriveKnown: the task is where its slowest container is. Once it should stop it
// moves to STOPPED only, so that a container that was never started and is set aside
// does not make the rest look like a running task.
func (a *applier) deriveKnown() {
	if len(a.spec.Containers) > 0 {
		least := Stopped
		for i := range a.spec.Containers {
			least = min(least, taskStatus(a.st.Containers[i].Known, a.spec.Containers[i].SteadyStatus()))
		}
		if least > a.st.Known && (least == Stopped || a.st.Desired != Stopped) {
			a.st.Known = least
		}
	}
	switch {
	case a.st.Known == Stopped:
		a.st.Desired = Stopped
		if a.st.StoppedAt.IsZero() {
			a.st.StoppedAt = a.now
		}
	case a.st.Known == Running && a.st.StartedAt.IsZero():
		a.st.StartedAt = a.now
	}
}

// taskStatus maps a container's known status to the task's (docs/spec/02 section 1.2).
func taskStatus(known, steady ContainerStatus) Status {
	switch {
	case known == ContainerStopped:
		return Stopped
	case known >= steady:
		return Running
	case known >= ContainerCreated:
		return Created
	case known >= ContainerManifestPulled:
		return ManifestPulled
	}
	return None
}
