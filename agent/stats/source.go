package stats

import "context"

// Target is a container to be measured.
type Target struct {
	ID     string // Docker's
	TaskID string // last element of the task's ARN: its cgroup may hold the container's
	// OwnNetwork is false where the container's network is the host's, none, or its
	// task's: it then has no counters of its own.
	OwnNetwork bool
	// Again is set when it was opened before and has not been started anew since.
	Again bool
	// MACs are the addresses of the interfaces that were given to the container's task. They
	// are told where these are asked for.
	MACs []string
}

// Source reads what the kernel, or Docker, counts. The loop alone calls it, one call
// at a time, and so it does the Meters that it opens.
type Source interface {
	// Host reads what all readings of one pass share.
	Host(ctx context.Context) (Host, error)
	// Open finds the counters of a container that runs.
	Open(ctx context.Context, t Target) (Meter, error)
	// TaskNetwork reads the counters of the interfaces that were given to a task, in
	// the network namespace of that container of it (docs/spec/04 section 8.6).
	TaskNetwork(ctx context.Context, pause Target) (map[string]Network, error)
}

// Meter reads the counters of one container, of one run of it: a restart makes the
// next reading fail.
type Meter interface {
	// Read fills in everything but the name, what a Host knows and what went before.
	// Unless it is to be whole, what telemetry does not tell of may be that of the last
	// whole reading; so it may where nothing has happened in the container since.
	Read(ctx context.Context, whole bool) (*Sample, error)
	Close()
}

// Host is the state of the host at one moment.
type Host struct {
	CPUTime uint64 // of all processors, busy and idle, in ns; 0 where it is not known
	CPUs    uint32 // that are online
}
