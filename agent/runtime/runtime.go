// Package runtime holds the words in which the engine speaks of a container
// runtime. The one that speaks to Docker is in runtime/docker.
//
// The create request uses Docker's own Config and HostConfig types, because ECS
// itself renders most options in that shape (docs/spec/02 section 4.1).
package runtime

import (
	"time"

	"github.com/docker/docker/api/types/container"

	"ecsagent/agent/task"
)

// CreateRequest asks for one container.
type CreateRequest struct {
	Name       string // unique; a second create of the same name is the same container
	Config     *container.Config
	HostConfig *container.HostConfig
}

// Container is what the runtime shows of a container.
type Container struct {
	ID     string
	Name   string // without a leading slash
	Image  string // image id
	Labels map[string]string
	Status task.ContainerStatus // Created, Running or Stopped (docs/spec/02 section 2.6.1)
	Pid    int
	OOM    bool
	Error  string // the runtime's own state error
	// ExitCode is set only when the container is not running and has finished.
	ExitCode   *int
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time

	Bindings []task.PortBinding
	Networks map[string]Network
	Mounts   []task.Mount

	HasHealthCheck bool
	Health         task.Health
	HealthStarting bool // Docker has not decided yet
	HealthOutput   string
	HealthExitCode int
}

// Network is the container's place in one Docker network.
type Network struct {
	IPv4, IPv6, MAC, Gateway string
}

// EventType is the kind of an Event.
type EventType uint8

// Events that the engine acts on (docs/spec/02 section 2.11). Reconnected says that the
// stream was interrupted and events may be missing: the receiver reconciles.
const (
	EventCreate EventType = iota + 1
	EventStart
	EventDie
	EventOOM
	EventDestroy
	EventHealth
	EventReconnected
	EventExecDie // a further program in the container ended
)

// Event is something that happened to a container.
type Event struct {
	Type     EventType
	ID       string            // container id; empty for EventReconnected
	Name     string            // container name
	Labels   map[string]string // the container's labels, as the event carries them
	ExitCode *int              // EventDie, EventExecDie
	ExecID   string            // EventExecDie
	Health   task.Health       // EventHealth
	Time     time.Time
	Past     bool // it was before the watch began: the container may run again
}

// Exec is what the runtime shows of a further program in a container.
type Exec struct {
	Running  bool
	PID      int  // on the host
	ExitCode *int // nil while it runs
}

// Process is a process of a container.
type Process struct {
	PID     int // on the host
	Command []string
}
