package task

import "time"

// State is what is known of a task. It is owned by the task's actor; nothing else
// writes it. Snapshot makes the copy that others may read.
type State struct {
	Desired Status
	Known   Status

	Containers []ContainerState // in the order of Spec.Containers
	Volumes    []VolumeState    `json:",omitempty"` // in the order of Spec.Volumes
	Resources  []ResourceState  `json:",omitempty"` // in the order of Spec.Resources

	// AcceptedAt is when the task was delivered; host resources are granted in its
	// order.
	AcceptedAt time.Time `json:",omitzero"`

	// TerminalReason says why the task stopped when the cause is no container's;
	// set once (docs/spec/02 section 2.4).
	TerminalReason string `json:",omitempty"`

	PullStartedAt      time.Time `json:",omitzero"` // first pull
	PullStoppedAt      time.Time `json:",omitzero"` // last pull
	StartedAt          time.Time `json:",omitzero"` // first RUNNING
	ExecutionStoppedAt time.Time `json:",omitzero"` // first essential container seen stopped
	StoppedAt          time.Time `json:",omitzero"` // known became STOPPED; clean-up counts from here
}

// ContainerState is what is known of one container.
type ContainerState struct {
	Desired ContainerStatus
	Known   ContainerStatus
	// Applied is the status towards which a step is under way; ContainerNone when
	// idle. It is not persisted: a restart repeats the step.
	Applied ContainerStatus `json:"-"`
	// Uncertain says that a start failed in a way that may have left the container
	// running: it is stopped through Docker although it is not known to run.
	Uncertain bool `json:",omitempty"`
	// Restarting says that the container exited and its restart policy wants it
	// started again; it still counts as running.
	Restarting bool `json:"-"`
	// RetryAt is when a stop that found Docker unreachable is tried again.
	RetryAt time.Time `json:"-"`
	Retries int       `json:"-"`

	// DockerName is chosen, and made durable, before the container is created.
	DockerName string
	// Discarded are ids of containers made for it before that never ran; clean-up
	// removes them.
	Discarded []string `json:",omitempty"`
	// CreateTried says that Docker was asked to create it: clean-up looks for it.
	CreateTried bool `json:",omitempty"`
	// RuntimeID is Docker's id; empty until created.
	RuntimeID   string `json:",omitempty"`
	ImageID     string `json:",omitempty"`
	ImageDigest string `json:",omitempty"` // sha256:...
	// EndpointID is the random id in the container's metadata URLs.
	EndpointID string `json:",omitempty"`
	// HostPorts are the ports the agent chose, by index into Spec ports; 0 where
	// the definition fixes the port. For a range it is the first port.
	HostPorts []uint16 `json:",omitempty"`

	ExitCode *int `json:",omitempty"`
	// Error is the first error that applied to the container; never replaced.
	Error    *Error        `json:",omitempty"`
	Bindings []PortBinding `json:",omitempty"`
	Mounts   []Mount       `json:",omitempty"`
	Networks []Network     `json:",omitempty"`
	// LocalAddress, of the container that holds a task's network, is the address from
	// which the task reaches the host.
	LocalAddress string `json:",omitempty"`

	CreatedAt  time.Time `json:",omitzero"`
	StartedAt  time.Time `json:",omitzero"` // first start; set before the container is known to run
	FinishedAt time.Time `json:",omitzero"`

	Health       Health    `json:",omitempty"`
	HealthSince  time.Time `json:",omitzero"`
	HealthOutput string    `json:",omitempty"` // last probe, at most 1024 bytes
	// HealthExitCode is that of the last probe that failed; a recovery leaves it.
	HealthExitCode int `json:",omitempty"`
	// Labels are those on the runtime's container, its image's included; never changed
	// once they are known.
	Labels map[string]string `json:",omitempty"`

	HasHealthCheck bool `json:",omitempty"` // Docker runs a health check for it

	RestartCount  int       `json:",omitempty"`
	LastRestartAt time.Time `json:",omitzero"`

	// ExecAgent is that of a container into which commands may be sent; nil for others.
	ExecAgent *ExecAgent `json:",omitempty"`
}

// Error is a failure that the task's owner sees in ECS (docs/spec/02 chapter 6).
type Error struct {
	Name    string // e.g. CannotPullContainerError
	Message string
}

// Error renders as ECS shows it: "Name: message".
func (e *Error) Error() string {
	if e.Name == "" {
		return "UnknownError: " + e.Message
	}
	return e.Name + ": " + e.Message
}

// PortBinding is a container port published on the host.
type PortBinding struct {
	BindIP        string
	ContainerPort uint16
	HostPort      uint16
	Protocol      Protocol
}

// Mount is a mount point of a container, as the runtime shows it.
type Mount struct {
	Name, Source, Destination string
	ReadOnly                  bool
}

// Network is a container's place in one Docker network.
type Network struct {
	Name                     string
	IPv4, IPv6, MAC, Gateway string `json:",omitempty"`
}

// VolumeState is what is known of a volume that Docker manages for the task
// (docs/spec/02 section 4.9). It is the zero value for other kinds of volume.
type VolumeState struct {
	// DockerName is chosen, and made durable, before the volume is created.
	DockerName string `json:",omitempty"`
	Created    bool   `json:",omitempty"`
	Applied    bool   `json:"-"` // creation is under way
}

// Snapshot is an immutable picture of a task. The containers of the State line up
// with those of the Spec.
type Snapshot struct {
	*Spec
	State State
}

// Snapshot copies the state so that later changes do not show in the result.
func (s *State) Snapshot(spec *Spec) *Snapshot {
	c := *s
	c.Containers = append([]ContainerState(nil), s.Containers...)
	c.Volumes = append([]VolumeState(nil), s.Volumes...)
	c.Resources = append([]ResourceState(nil), s.Resources...)
	return &Snapshot{Spec: spec, State: c}
}

// Sent is what ECS has accepted of a task (docs/spec/02 section 1.5).
type Sent struct {
	Task       Status
	Containers map[string]ContainerStatus `json:",omitempty"`
	Agents     map[string]AgentReport     `json:",omitempty"` // exec agents, by container
}

// Record is everything that is durable of one task.
type Record struct {
	Spec  *Spec
	State State
	Sent  Sent
}

// Delivery is the work of one ACS payload: what the engine must have made durable
// before the payload is acknowledged (docs/spec/02 section 11.1, C6).
type Delivery struct {
	// Seq is the payload's sequence number; 0 when it had none. It becomes durable
	// together with the tasks.
	Seq   int64
	Tasks []Request
	// Rejected are tasks that could not be decoded. A task the engine does not know
	// is recorded as STOPPED with the reason, so that ECS hears of it; one that it
	// knows runs on.
	Rejected []Rejection
}

// Request asks for a task to reach a status. For a task that is already known only
// Desired counts.
type Request struct {
	Spec    *Spec
	Desired Status
}

// Rejection is a task that cannot be run.
type Rejection struct {
	ARN    string
	Reason string // as ECS shows it
}
