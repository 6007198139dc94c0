package service

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/placement"
	"ecsagent/controlplane/render"
)

// state is everything the service knows. It is guarded by Service.mu.
type state struct {
	clusters    map[string]*cluster    // by name
	families    map[string]*family     // by name
	definitions map[string]*definition // by family:revision
	instances   map[string]*instance   // by ARN
	tasks       map[string]*task       // by ARN
	stopped     []*task                // in the order in which they stopped
	seq         int64                  // of the newest task

	dispatcher Dispatcher
	closed     bool
	// inFlight are the payloads that wait for their ack; early the acks that came
	// before Deliver had returned the message id.
	inFlight map[string][]mark
	early    map[string]bool

	waits map[string]*time.Timer // for interfaces, by task ARN
}

func newState() state {
	return state{
		clusters: map[string]*cluster{}, families: map[string]*family{}, definitions: map[string]*definition{},
		instances: map[string]*instance{}, tasks: map[string]*task{},
		inFlight: map[string][]mark{}, early: map[string]bool{}, waits: map[string]*time.Timer{},
	}
}

// mark names a task in a payload and what the payload asks for it.
type mark struct {
	task    string
	desired string
}

// cluster is a record of the store.
type cluster struct {
	Name          string
	ARN           string
	Status        string
	Settings      []api.ClusterSetting
	Configuration json.RawMessage `json:",omitempty"`
	Tags          []api.Tag
}

// family remembers the last revision given out, so that none is used twice.
type family struct {
	Name string
	Last int
}

// definition is a record of the store.
type definition struct {
	api.TaskDefinition
	Tags []api.Tag
}

func (d *definition) key() string { return revisionKey(d.Family, d.Revision) }

func revisionKey(family string, revision int) string { return family + ":" + strconv.Itoa(revision) }

// instance is a record of the store.
type instance struct {
	ARN          string
	Cluster      string // name
	Status       string
	EC2ID        string
	External     bool
	Version      int64
	VersionInfo  api.VersionInfo
	CPU          int // registered
	Memory       int
	TCP          []uint16 // reserved ports
	UDP          []uint16
	GPUs         []string
	Attributes   map[string]string
	RegisteredAt api.Time
	InactiveAt   api.Time `json:",omitzero"`
	Tags         []api.Tag
	ClientToken  string

	update    string // status of the agent's update; empty: there was none
	connected bool
	left      time.Time // when the agent's work channel ended last
	health    *api.InstanceHealth
	tasks     map[string]*task // not STOPPED, by ARN
}

// live returns the tasks that are not STOPPED, oldest first.
func (in *instance) live() []*task {
	list := make([]*task, 0, len(in.tasks))
	for _, t := range in.tasks {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *task) int { return cmp.Compare(a.Seq, b.Seq) })
	return list
}

// task is a record of the store.
type task struct {
	Task      api.Task
	Seq       int64 // order of creation
	Cluster   string
	Family    string
	Need      placement.Need
	Payload   *render.Task
	Essential []bool // by container
	Checked   []bool // by container: has a health check

	// Credential set ids stay the same for the task's life.
	RoleARN       string `json:",omitempty"`
	RoleID        string `json:",omitempty"`
	ExecutionARN  string `json:",omitempty"`
	ExecutionID   string `json:",omitempty"`
	AckedRunning  bool
	AckedStopping bool

	// ENI is the task's own network interface; nil for tasks in other network modes.
	ENI *eni `json:",omitempty"`
	// Disk is the task's EBS volume; nil for tasks without one.
	Disk *disk `json:",omitempty"`

	ClientToken    string    `json:",omitempty"`
	RequestHash    string    `json:",omitempty"`
	ProtectedUntil time.Time `json:",omitzero"`
}

// acked reports whether the agent has what it should do now.
func (tk *task) acked() bool {
	if tk.Task.DesiredStatus == api.StatusStopped {
		return tk.AckedStopping
	}
	return tk.AckedRunning
}

// isStopped reports whether the task has ended.
func (tk *task) isStopped() bool { return tk.Task.LastStatus == api.StatusStopped }

// view copies what others may read. Tags are shown on demand only.
func (tk *task) view(tags bool) api.Task {
	v := tk.Task
	v.Containers = slices.Clone(v.Containers)
	if tk.ENI != nil {
		tk.ENI.show(&v)
	}
	if tk.Disk != nil {
		tk.Disk.show(&v)
	}
	if !tags {
		v.Tags = []api.Tag{}
	}
	return v
}
