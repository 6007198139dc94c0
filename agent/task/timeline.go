package task

import (
	"fmt"
	"slices"
	"time"
)

// Entry is something that happened to a task.
type Entry struct {
	At        time.Time
	Container string // empty: the task as a whole
	Event     string // one of the words below
	Detail    string
}

// What happens to a task. Entries may have other words: they are for people.
const (
	EventAccepted    = "accepted"     // delivered by ECS and durable
	EventRestored    = "restored"     // known from an earlier run of the agent
	EventAdmitted    = "admitted"     // the host's resources are granted
	EventDesired     = "desired"      // another status is asked for
	EventStatus      = "status"       // the known status changed
	EventReason      = "reason"       // why the task must stop
	EventError       = "error"        // the first error of a container
	EventPullStarted = "pull started" //
	EventPullEnded   = "pull ended"   //
	EventCreated     = "created"      // a volume; a container of an earlier run
	EventStarted     = "started"      // of an earlier run
	EventExited      = "exited"       // of an earlier run
	EventHealth      = "health"       //
	EventRestart     = "restart"      // by the container's restart policy
	EventStopFailed  = "stop failed"  // an attempt to stop
	EventPort        = "port"         // a host port was taken by somebody else
	EventReported    = "reported"     // ECS accepted a status
	EventSave        = "save"         // the disk refused the state, or takes it again
)

// Waiting is a present wait, in words.
type Waiting struct {
	Container string // empty: the task as a whole
	For       string // see WaitFor
	Detail    string
	Since     time.Time
}

// Timeline is what happened to a task and what it waits for now. It is never
// changed after it was made.
type Timeline struct {
	*Snapshot
	Since   time.Time // of the known status
	Waits   []Waiting
	Entries []Entry // oldest first
}

// Changes lists what differs between two states of a task, the later being that of
// the time at.
func Changes(spec *Spec, before, after *State, at time.Time) []Entry {
	var list []Entry
	add := func(container, event, detail string) {
		list = append(list, Entry{At: at, Container: container, Event: event, Detail: detail})
	}
	if before.Desired != after.Desired {
		add("", EventDesired, arrow(before.Desired, after.Desired))
	}
	if before.TerminalReason != after.TerminalReason {
		add("", EventReason, after.TerminalReason)
	}
	for i := range after.Volumes {
		if after.Volumes[i].Created && !before.Volumes[i].Created {
			add("", EventCreated, "volume "+spec.Volumes[i].Name)
		}
	}
	for i := range after.Containers {
		follows := before.Desired != after.Desired
		containerChanges(&spec.Containers[i], &before.Containers[i], &after.Containers[i], follows, add)
	}
	if before.Known != after.Known {
		add("", EventStatus, arrow(before.Known, after.Known))
	}
	return list
}

func containerChanges(c *Container, before, after *ContainerState, follows bool, add func(container, event, detail string)) {
	if !follows && before.Desired != after.Desired {
		add(c.Name, EventDesired, arrow(before.Desired, after.Desired))
	}
	pulls, pulled := after.Applied == ContainerPulled, before.Applied == ContainerPulled
	if !c.Internal() && pulls != pulled {
		if pulls {
			add(c.Name, EventPullStarted, c.Image)
		} else {
			add(c.Name, EventPullEnded, c.Image)
		}
	}
	if before.DockerName != after.DockerName && len(before.HostPorts) > 0 {
		add(c.Name, EventPort, fmt.Sprintf("of %v one is taken by somebody else, %v are tried", before.HostPorts, after.HostPorts))
	}
	if before.Error != after.Error && after.Error != nil {
		add(c.Name, EventError, after.Error.Error())
	}
	if before.RestartCount != after.RestartCount {
		add(c.Name, EventRestart, fmt.Sprintf("restart %d%s", after.RestartCount, exitText(after.ExitCode)))
	}
	if before.Health != after.Health {
		add(c.Name, EventHealth, after.Health.String())
	}
	if before.Known != after.Known {
		detail := arrow(before.Known, after.Known)
		if after.Known == ContainerStopped {
			detail += exitText(after.ExitCode)
		}
		add(c.Name, EventStatus, detail)
	}
	if after.Uncertain && !before.Uncertain {
		add(c.Name, EventStatus, "may run although it should not: it is stopped")
	}
}

// History lists what the state tells of the past of a task, oldest first.
func History(spec *Spec, st *State) []Entry {
	var list []Entry
	add := func(at time.Time, container, event, detail string) {
		if !at.IsZero() {
			list = append(list, Entry{At: at, Container: container, Event: event, Detail: detail})
		}
	}
	add(st.AcceptedAt, "", EventAccepted, "desired "+st.Desired.String())
	add(st.PullStartedAt, "", EventPullStarted, "")
	add(st.PullStoppedAt, "", EventPullEnded, "")
	for i := range st.Containers {
		c, name := &st.Containers[i], spec.Containers[i].Name
		add(c.CreatedAt, name, EventCreated, c.DockerName)
		add(c.StartedAt, name, EventStarted, "")
		add(c.LastRestartAt, name, EventRestart, fmt.Sprintf("restart %d", c.RestartCount))
		add(c.HealthSince, name, EventHealth, c.Health.String())
		if c.Known == ContainerStopped {
			add(c.FinishedAt, name, EventExited, errorText(c.Error)+exitText(c.ExitCode))
		}
	}
	add(st.StartedAt, "", EventStatus, Running.String())
	add(st.StoppedAt, "", EventStatus, Stopped.String())
	add(st.StoppedAt, "", EventReason, st.TerminalReason)
	list = slices.DeleteFunc(list, func(e Entry) bool { return e.Event == EventReason && e.Detail == "" })
	slices.SortStableFunc(list, func(a, b Entry) int { return a.At.Compare(b.At) })
	return list
}

func arrow[S fmt.Stringer](from, to S) string { return from.String() + " -> " + to.String() }

func exitText(code *int) string {
	if code == nil {
		return ""
	}
	return fmt.Sprintf(", exit code %d", *code)
}

func errorText(err *Error) string {
	if err == nil {
		return "ended"
	}
	return err.Error()
}
