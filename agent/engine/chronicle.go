package engine

import (
	"time"

	"ecsagent/agent/task"
)

// A timeline keeps its first and its latest entries; what lies between is dropped.
const (
	timelineHead = 50
	timelineTail = 150
)

// chronicle is what an actor tells of its task: what happened and what it waits for.
// It belongs to the actor; story is the part that others read.
type chronicle struct {
	head, tail []task.Entry // of tail, the last timelineTail count
	dropped    int
	since      time.Time // of the known status
	waits      []noted
	told       bool // the story shows all of this
}

// usualEntries is how many entries a task has that has just been started.
const usualEntries = 16

// noted is a wait and when it began.
type noted struct {
	task.Wait
	since time.Time
}

// story is an immutable picture of a chronicle.
type story struct {
	chronicle
	holds bool // host resources are granted and not given back
}

func (c *chronicle) add(entries ...task.Entry) {
	for _, e := range entries {
		c.told = false
		if c.head == nil {
			c.head = make([]task.Entry, 0, usualEntries)
		}
		if len(c.head) < timelineHead {
			c.head = append(c.head, e)
			continue
		}
		if len(c.tail) == 2*timelineTail {
			// Stories share the array, so the kept half moves to another.
			c.tail = append(make([]task.Entry, 0, 2*timelineTail), c.tail[timelineTail:]...)
			c.dropped += timelineTail
		}
		c.tail = append(c.tail, e)
	}
}

// entries returns what is kept and how many were dropped between the first and the
// latest.
func (c *chronicle) entries() (head, tail []task.Entry, dropped int) {
	skip := max(0, len(c.tail)-timelineTail)
	return c.head, c.tail[skip:], c.dropped + skip
}

// wait replaces the waits; one that goes on keeps the time at which it began. It
// reports whether anything changed.
func (c *chronicle) wait(waits []task.Wait, now time.Time) bool {
	same := len(waits) == len(c.waits)
	for i := 0; same && i < len(waits); i++ {
		same = waits[i] == c.waits[i].Wait
	}
	if same {
		return false
	}
	next := make([]noted, len(waits))
	for i, w := range waits {
		next[i] = noted{w, now}
		for _, old := range c.waits {
			if old.Same(w) {
				next[i].since = old.since
			}
		}
	}
	c.waits, c.told = next, false
	return true
}

// tell lets others read what changed since it was last told.
func (a *actor) tell() {
	if a.chron.told {
		return
	}
	a.chron.told = true
	a.story.Store(&story{chronicle: a.chron, holds: a.admitted && !a.released})
}

// note adds an entry of now.
func (a *actor) note(container int, event, detail string) {
	e := task.Entry{At: time.Now(), Event: event, Detail: detail}
	if container >= 0 {
		e.Container = a.spec.Containers[container].Name
	}
	a.chron.add(e)
}

// begin starts the chronicle with what the state knows.
func (c *chronicle) begin(rec *task.Record) {
	c.add(task.History(rec.Spec, &rec.State)...)
	c.since = rec.State.AcceptedAt
	switch rec.State.Known {
	case task.Running:
		c.since = rec.State.StartedAt
	case task.Stopped:
		c.since = rec.State.StoppedAt
	}
}

// record adds what an event changed.
func (a *actor) record(before *task.State, now time.Time) {
	a.changes = task.Changes(a.changes[:0], a.spec, before, &a.st, now)
	a.chron.add(a.changes...)
	if before.Known != a.st.Known {
		a.chron.since, a.chron.told = now, false
	}
}

// waits are the planner's waits and those that only the actor knows of.
func (a *actor) waits(planned []task.Wait) []task.Wait {
	all := append(a.waiting[:0], planned...)
	defer func() { a.waiting = all }()
	for i := range a.st.Containers {
		c := &a.st.Containers[i]
		if kind := underWay(c); kind != 0 {
			w := task.Wait{Container: i, For: task.WaitStep, Step: kind}
			if kind == task.StepStop {
				w.Attempt = a.containers[i].stops + 1
			}
			all = append(all, w)
		}
	}
	for i := range a.st.Volumes {
		if a.st.Volumes[i].Applied {
			all = append(all, task.Wait{Container: -1, For: task.WaitStep, Step: task.StepVolume, On: i})
		}
	}
	for i := range a.st.Resources {
		if a.st.Resources[i].Applied {
			all = append(all, task.Wait{Container: -1, For: task.WaitStep, Step: task.StepResource, On: i})
		}
	}
	if a.unsaved {
		all = append(all, task.Wait{Container: -1, For: task.WaitState})
	}
	if known := a.st.Known; known >= task.Running && known > a.sent {
		all = append(all, task.Wait{Container: -1, For: task.WaitReport, Status: known})
	}
	return all
}

// underWay is the step of a container that has not ended; 0 when there is none.
func underWay(c *task.ContainerState) task.StepKind {
	switch c.Applied {
	case task.ContainerManifestPulled:
		return task.StepManifest
	case task.ContainerPulled:
		return task.StepPull
	case task.ContainerCreated:
		return task.StepCreate
	case task.ContainerRunning:
		if c.Restarting {
			return task.StepRestart
		}
		return task.StepStart
	case task.ContainerResourcesProvisioned:
		return task.StepProvision
	case task.ContainerStopped:
		return task.StepStop
	}
	return 0
}
