package engine

import (
	"context"
	"time"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/image"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Store makes tasks durable. Its methods return when the change is on disk and may
// be called from many goroutines at once.
type Store interface {
	SaveTasks(seq int64, records []task.Record) error
	SaveState(arn string, state task.State) error
	SaveSequence(seq int64) error
	DeleteTask(arn string) error
}

// Reporter hears of every change of a task, in order per task and only after it is
// durable. Observe must not block.
type Reporter interface {
	Observe(*task.Snapshot)
}

// Pictures hears of every new picture of a task at once, durable or not, and of the
// task's end. Calls for one task come one after another; they must not block.
type Pictures interface {
	Published(*task.Snapshot)
	Gone(arn string)
}

// Runtime is the container runtime. Errors answer errors.As for *task.Error with
// the reason that ECS shows, and errors.Is for the kinds of package runtime. Every
// method keeps its own deadline.
type Runtime interface {
	Create(ctx context.Context, r runtime.CreateRequest) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Kill(ctx context.Context, id string) error
	Inspect(ctx context.Context, idOrName string) (runtime.Container, error)
	List(ctx context.Context) ([]runtime.Container, error)
	Remove(ctx context.Context, id string) error
	Watch(ctx context.Context, fn func(runtime.Event)) error
	Ping(ctx context.Context) error

	CreateVolume(ctx context.Context, r runtime.VolumeRequest) (runtime.Volume, error)
	InspectVolume(ctx context.Context, name string) (runtime.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
}

// Images gets images (docs/spec/02 chapter 5).
type Images interface {
	// Digest resolves the image's manifest digest; it is empty when there is none to
	// report.
	Digest(ctx context.Context, r image.Request) (string, error)
	// Ensure makes the image available locally. The result counts even beside an
	// error: a failed pull has times too.
	Ensure(ctx context.Context, r image.Request) (image.Result, error)
	// Forget says that an image that was there is gone.
	Forget(ref string)
}

// HostPorts chooses free ports of the host.
type HostPorts interface {
	// Allocate chooses the first host port for each mapping; 0 where the definition
	// fixes it. The ports stay reserved until they are released.
	Allocate(ports []task.PortMapping) ([]uint16, error)
	Release(ports []task.PortMapping, chosen []uint16)
	// Restore reserves ports that were chosen before the agent restarted.
	Restore(ports []task.PortMapping, chosen []uint16)
}

// Builder turns a container of a task into a request for the runtime
// (docs/spec/02 chapter 4). All methods are pure but for chance.
type Builder interface {
	ContainerName(spec *task.Spec, container int) string
	VolumeName(spec *task.Spec, volume int) string
	// Volume is the request for a volume that Docker manages; space is the path of the
	// network namespace of a task that has one. Its errors answer as Build's.
	Volume(spec *task.Spec, volume int, state *task.State, space string) (runtime.VolumeRequest, error)
	// Build may return an error that answers errors.As for *task.Error.
	Build(spec *task.Spec, container int, state *task.State, in dockerspec.Inputs) (runtime.CreateRequest, error)
}

// Credentials tells whether execution-role credentials have arrived
// (docs/spec/02 section 2.2).
type Credentials interface {
	Has(id string) bool
}

// Capacity is what the host offers to tasks (docs/spec/02 section 8.1).
type Capacity struct {
	CPU         int64 // 1024 per logical CPU
	Memory      int64 // MiB, reserved memory taken off
	GPUs        []string
	ReservedTCP []uint16
	ReservedUDP []uint16
}
