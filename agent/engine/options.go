package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	goruntime "runtime"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Options are the engine's parts and settings. Store, Reporter, Runtime, Images,
// HostPorts, Builder and Log are required.
type Options struct {
	Store       Store
	Reporter    Reporter
	Runtime     Runtime
	Images      Images
	HostPorts   HostPorts
	Builder     Builder
	Credentials Credentials // nil: nothing waits for credentials
	Pictures    Pictures    // nil: nobody but the reporter is told
	LateVolumes LateVolumes // nil: forgotten with the process
	// Hooks make the resources of tasks. Those of a task are made at the same time and
	// removed in reverse order.
	Hooks []Hook
	// Execs runs the exec agents of containers; nil: they cannot be started.
	Execs Execs
	// Network gives tasks of mode awsvpc their network; nil: such tasks are rejected.
	Network Network
	// Connect does the same for tasks with Service Connect in mode bridge; nil: they fail.
	Connect ConnectNetwork
	// Started is told of each container of a task that has started, in whatever way, before
	// anybody else: what a running container has to be given. An error ends the container.
	// Nil: nothing is to be done.
	Started func(ctx context.Context, s *task.Snapshot, started *runtime.Container) error
	Log     *zap.Logger

	// Restored are the tasks of the last run and Sequence its latest sequence number.
	Restored []task.Record
	Sequence int64

	Capacity    Capacity
	Pull        task.PullBehavior
	PullUpfront bool          // ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT
	StopTimeout time.Duration // ECS_CONTAINER_STOP_TIMEOUT; default 30 s
	// CleanupWait is how long a stopped task is kept, plus a random part of
	// CleanupJitter; default 3 h and none.
	CleanupWait, CleanupJitter time.Duration
	// MatchSharedVolumes is ECS_SHARED_VOLUME_MATCH_FULL_CONFIG.
	MatchSharedVolumes bool
	GPUSupport         bool
	// Pause is what pause containers are made of. LoadPause, unless nil, gets their image
	// again should it be gone.
	Pause     task.Pause
	LoadPause func(context.Context) error

	// Creates and Starts bound how many of them run at once; stops, pulls and everything
	// else are not bounded. Defaults: three and six for each logical CPU; how little that
	// matters is in docs/performance.md.
	Creates, Starts int
	// AdmissionAge is how long the oldest waiting task may be passed by smaller ones;
	// default 5 min.
	AdmissionAge time.Duration
	// ReconcileEvery is the period of the check of all containers, plus up to a tenth;
	// default 5 min.
	ReconcileEvery time.Duration

	// Leftovers are containers without a task.
	Leftovers Leftovers

	// Random gives numbers in [0, 1); default math/rand.
	Random func() float64
}

func (o *Options) complete() error {
	if o.Store == nil || o.Reporter == nil || o.Runtime == nil || o.Images == nil ||
		o.HostPorts == nil || o.Builder == nil || o.Log == nil {
		return errors.New("engine needs a store, a reporter, a runtime, images, host ports, a builder and a log")
	}
	setDefault(&o.StopTimeout, 30*time.Second)
	setDefault(&o.CleanupWait, 3*time.Hour)
	setDefault(&o.Creates, 3*goruntime.NumCPU())
	setDefault(&o.Starts, 6*goruntime.NumCPU())
	setDefault(&o.AdmissionAge, 5*time.Minute)
	setDefault(&o.ReconcileEvery, 5*time.Minute)
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return nil
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}
