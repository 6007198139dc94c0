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
	EventCreated     = "created"      // a volume or a resource; a container of an earlier run
	EventStarted     = "started"      // of an earlier run
	EventExited      = "exited"       // of an earlier run
	EventHealth      = "health"       //
	EventRestart     = "restart"      // by the container's restart policy
	EventStopFailed  = "stop failed"  // an attempt to stop
	EventPort        = "port"         // a host port was taken by somebody else
	EventReported    = "reported"     // ECS accepted a status
	EventSave        = "save"         // the disk refused the state, or takes it again
	EventExecAgent   = "exec agent"   // of a container: its status changed
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

// Changes appends to list what differs between two states of a task, the later being
// that of the time at.
func Changes(list []Entry, spec *Spec, before, after *State, at time.Time) []Entry {
	d := differ{list: list, at: at, asked: before.Desired != after.Desired}
	if d.asked {
		d.add("", EventDesired, arrow(before.Desired, after.Desired))
	}
	if before.TerminalReason != after.TerminalReason {
		d.add("", EventReason, after.TerminalReason)
	}
	for i := range after.Volumes {
		if after.Volumes[i].Created && !before.Volumes[i].Created {
			d.add("", EventCreated, "volume "+spec.Volumes[i].Name)
		}
	}
	for i := range after.Resources {
		if after.Resources[i].Created && !before.Resources[i].Created {
			d.add("", EventCreated, spec.Resources[i].Text)
		}
	}
	for i := range after.Containers {
		d.container(&spec.Containers[i], &before.Containers[i], &after.Containers[i])
	}
	if before.Known != after.Known {
		d.add("", EventStatus, arrow(before.Known, after.Known))
	}
	return d.list
}

type differ struct {
	list  []Entry
	at    time.Time
	asked bool // the task's own desired status changed, and so its containers'
}

func (d *differ) add(container, event, detail string) {
	d.list = append(d.list, Entry{At: d.at, Container: container, Event: event, Detail: detail})
}

func (d *differ) container(c *Container, before, after *ContainerState) {
	if !d.asked && before.Desired != after.Desired {
		d.add(c.Name, EventDesired, arrow(before.Desired, after.Desired))
	}
	pulls, pulled := after.Applied == ContainerPulled, before.Applied == ContainerPulled
	if pulls != pulled && c.Pulled() {
		if pulls {
			d.add(c.Name, EventPullStarted, c.Image)
		} else {
			d.add(c.Name, EventPullEnded, c.Image)
		}
	}
	if before.DockerName != after.DockerName && len(before.HostPorts) > 0 {
		d.add(c.Name, EventPort, fmt.Sprintf("of %v one is taken by somebody else, %v are tried", before.HostPorts, after.HostPorts))
	}
	if before.Error != after.Error && after.Error != nil {
		d.add(c.Name, EventError, after.Error.Error())
	}
	if before.RestartCount != after.RestartCount {
		d.add(c.Name, EventRestart, fmt.Sprintf("restart %d%s", after.RestartCount, exitText(after.ExitCode)))
	}
	if before.Health != after.Health {
		d.add(c.Name, EventHealth, after.Health.String())
	}
	if was, is := before.ExecAgent, after.ExecAgent; is != nil && is.Status != AgentNone && !is.Same(was) {
		d.add(c.Name, EventExecAgent, is.Status.String()+": "+is.Reason)
	}
	if before.Known != after.Known {
		detail := arrow(before.Known, after.Known)
		if after.Known == ContainerStopped {
			detail += exitText(after.ExitCode)
		}
		d.add(c.Name, EventStatus, detail)
	}
	if after.Uncertain && !before.Uncertain {
		d.add(c.Name, EventStatus, "may run although it should not: it is stopped")
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
		if c.RestartCount > 0 {
			add(c.LastRestartAt, name, EventRestart, fmt.Sprintf("restart %d", c.RestartCount))
		}
		add(c.HealthSince, name, EventHealth, c.Health.String())
		if c.Known == ContainerStopped {
			add(c.FinishedAt, name, EventExited, errorText(c.Error)+exitText(c.ExitCode))
		}
	}
	add(st.StartedAt, "", EventStatus, Running.String())
	add(st.StoppedAt, "", EventStatus, Stopped.String())
	if st.TerminalReason != "" {
		add(st.StoppedAt, "", EventReason, st.TerminalReason)
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return a.At.Compare(b.At) })
	return list
}

// arrows are made once: statuses change at every step of every task.
var (
	taskArrows      = makeArrows[Status]()
	containerArrows = makeArrows[ContainerStatus]()
)

func makeArrows[S interface {
	~uint8
	fmt.Stringer
}]() (all [ContainerStopped + 1][ContainerStopped + 1]string) {
	for from := range all {
		for to := range all[from] {
			all[from][to] = S(from).String() + " -> " + S(to).String()
		}
	}
	return all
}

func arrow[S Status | ContainerStatus](from, to S) string {
	if _, ok := any(from).(Status); ok {
		return taskArrows[from][to]
	}
	return containerArrows[from][to]
}

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
