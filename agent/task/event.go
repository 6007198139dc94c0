package task

import "time"

// StepKind is a kind of work that a worker does for a task.
type StepKind uint8

// Kinds of steps. Those of a container lead it to the status of Target.
const (
	StepVolume    StepKind = iota + 1 // create or check a Docker volume
	StepManifest                      // resolve the image's digest
	StepPull                          // make the image available locally
	StepCreate                        // create the container
	StepStart                         // start it
	StepProvision                     // set up what a pause container holds
	StepStop                          // stop it
	StepRestart                       // start an exited container again
	StepResource                      // make a resource of the task exist
	StepAgent                         // see that a container's exec agent runs
)

var stepNames = map[StepKind]string{
	StepVolume: "volume", StepManifest: "manifest", StepPull: "pull", StepCreate: "create",
	StepStart: "start", StepProvision: "provision", StepStop: "stop", StepRestart: "restart", StepResource: "resource",
	StepAgent: "exec agent",
}

// String names the step in logs.
func (k StepKind) String() string { return nameOf(stepNames, k) }

// Target is the container status that the step leads to.
func (k StepKind) Target() ContainerStatus {
	switch k {
	case StepManifest:
		return ContainerManifestPulled
	case StepPull:
		return ContainerPulled
	case StepCreate:
		return ContainerCreated
	case StepStart, StepRestart:
		return ContainerRunning
	case StepProvision:
		return ContainerResourcesProvisioned
	case StepStop:
		return ContainerStopped
	}
	return ContainerNone
}

// stepTo is the step that leads a container to a status.
func stepTo(s ContainerStatus) StepKind {
	switch s {
	case ContainerManifestPulled:
		return StepManifest
	case ContainerPulled:
		return StepPull
	case ContainerCreated:
		return StepCreate
	case ContainerRunning:
		return StepStart
	case ContainerResourcesProvisioned:
		return StepProvision
	}
	return StepStop
}

// Step is one piece of work: on a volume when Kind is StepVolume, on a resource when
// it is StepResource, beside a container when it is StepAgent, and else on a container.
type Step struct {
	Kind      StepKind
	Container int // index into Spec.Containers
	Volume    int // index into Spec.Volumes
	Resource  int // index into Spec.Resources
}

// OfContainer reports whether the step is one on a container, which has one at a time.
func (s Step) OfContainer() bool {
	return s.Kind != StepVolume && s.Kind != StepResource && s.Kind != StepAgent
}

// Event is something that happened to a task; Apply works it into the State.
type Event interface{ event() }

// Desire asks the task to reach a status. It is ignored unless it is later than
// what the task is already asked for (docs/spec/02 section 1.5).
type Desire struct{ Status Status }

// Begin says that a step was handed to a worker.
type Begin struct{ Step Step }

// Done is the outcome of a step.
type Done struct {
	Step Step
	Err  *Error // nil on success

	// Uncertain, with Err of a start: the container may run nevertheless; with Err of
	// StepAgent: nothing was found out.
	Uncertain bool
	// Unstopped, of a stop: the container may still run, so it is tried again. Err, when
	// there is one, is the reason all the same; without one Docker does not even answer.
	Unstopped bool

	ImageID, Digest     string    // StepManifest, StepPull
	PullStart, PullStop time.Time // StepPull; zero when nothing was pulled
	RuntimeID           string    // StepCreate
	HostPorts           []uint16  // StepCreate
	Sight               *Sight    // what an inspect showed after the step

	LocalAddress string // StepProvision: on the host's bridge

	Data   map[string]string     // StepResource: becomes ResourceState.Data unless nil
	Agents map[string]AgentSetup // StepResource: exec agents, by container

	Agent *AgentRun // StepAgent: it runs
}

// Sight is what the runtime shows of a container.
type Sight struct {
	Status                           ContainerStatus // Created, Running or Stopped
	RuntimeID, Name, ImageID         string
	ExitCode                         *int
	OOM                              bool
	StateError                       string
	CreatedAt, StartedAt, FinishedAt time.Time
	Bindings                         []PortBinding
	Networks                         []Network
	Mounts                           []Mount
	HasHealthCheck                   bool
	Health                           Health
	HealthStarting                   bool
	HealthOutput                     string
	HealthExitCode                   int // of the last probe, when it failed
	Labels                           map[string]string
}

// Seen says what the runtime shows of a container, outside any step.
type Seen struct {
	Container int
	Sight     Sight
	// Startup says that the agent has just started: an exit it did not witness is not
	// restarted (docs/spec/02 section 9.6).
	Startup bool
}

// Exit says that the container's process has ended.
type Exit struct {
	Container int
	ExitCode  *int
	Time      time.Time
	Sight     *Sight // nil when it was not looked at, or could not be
}

// Vanish says that the runtime no longer has the container.
type Vanish struct{ Container int }

// Probe is a change of a container's health.
type Probe struct {
	Container int
	Health    Health
	Output    string
}

// Fail stops the task for a cause that is no container's. The first reason is kept.
type Fail struct{ Reason string }

// Skip moves a container that does not run to STOPPED.
type Skip struct{ Container int }

// Refuse stops a container that can never start, because of a dependency.
type Refuse struct {
	Container int
	Err       *Error
}

// Rename gives a container that was created, and could not be started because its
// host ports were taken, another name and other ports. What was created is
// discarded.
type Rename struct {
	Container int
	Name      string
	HostPorts []uint16
}

// GiveUp ends a task that should stop and in which nothing can move.
type GiveUp struct{}

func (Desire) event() {}
func (Begin) event()  {}
func (Done) event()   {}
func (Seen) event()   {}
func (Exit) event()   {}
func (Vanish) event() {}
func (Probe) event()  {}
func (Fail) event()   {}
func (Skip) event()   {}
func (Refuse) event() {}
func (Rename) event() {}
func (GiveUp) event() {}
