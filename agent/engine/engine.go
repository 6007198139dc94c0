package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// errStopped is the answer to work that comes while the engine ends.
var errStopped = errors.New("engine is stopping")

// Engine runs tasks. Make it with New, and call Run once; the other methods may be
// called from any goroutine.
type Engine struct {
	opt   Options
	log   *zap.Logger
	rules task.Rules

	tasks     sync.Map // ARN -> *actor
	admission *admission
	creates   places
	starts    places
	seq       atomic.Int64
	refusing  atomic.Int32 // tasks whose state the disk refuses
	closing   atomic.Bool  // the host shuts down
	busy      atomic.Bool  // a task began since the last look at all containers
	stopBy    atomic.Int64 // when it wants containers to have ended; 0 for no such time

	drained    drains
	delivering chan struct{} // held by the Deliver or Advance under way
	started    chan struct{} // closed when Run has begun
	ready      chan struct{} // closed when containers have been looked at once
	look       chan struct{} // asks for a reconciliation

	execs   sync.Once       // the watch of exec agents
	begun   time.Time       // when this process took over
	ctx     context.Context // Run's; set before started is closed
	actors  sync.WaitGroup
	workers sync.WaitGroup
	// reconcile's own: ids of containers that were told of, and that are being removed.
	late              sync.Map // volumes that removeAgain is about
	orphans, removing map[string]bool
	adopting          bool // containers without a task become tasks
	quiet             int  // looks since there were tasks
}

// New makes an engine that knows the restored tasks. It touches nothing.
func New(opt Options) (*Engine, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	e := &Engine{
		opt: opt, log: opt.Log,
		rules:      task.Rules{Pull: opt.Pull, PullUpfront: opt.PullUpfront},
		admission:  newAdmission(opt.Capacity, opt.AdmissionAge),
		creates:    newPlaces(opt.Creates),
		starts:     newPlaces(opt.Starts),
		delivering: make(chan struct{}, 1),
		started:    make(chan struct{}),
		ready:      make(chan struct{}),
		look:       make(chan struct{}, 1),
		orphans:    make(map[string]bool),
		removing:   make(map[string]bool),
		adopting:   opt.Leftovers.Adopt,
		quiet:      quietLooks,
		begun:      time.Now(),
	}
	e.seq.Store(opt.Sequence)
	for i := range opt.Restored {
		rec := opt.Restored[i]
		if rec.Spec == nil {
			return nil, fmt.Errorf("restored task %d has no spec", i)
		}
		rec.State = task.RestoreState(rec.Spec, rec.State, time.Now())
		a := newActor(e, &rec)
		a.restored = true
		a.note(-1, task.EventRestored, "the agent was started again")
		if a.st.Known != task.Stopped {
			a.choose()
			a.restorePorts()
			a.publish()
		}
		a.tell()
		e.tasks.Store(a.spec.ARN, a)
	}
	return e, nil
}

// Run restores, reconciles and serves until ctx ends. Containers are left as they
// are. It must be called once.
func (e *Engine) Run(ctx context.Context) error {
	e.ctx = ctx
	e.eachActor(func(a *actor) { e.spawn(a) })
	close(e.started)
	e.resumeLate()
	e.workers.Go(func() { e.watch(ctx) })
	e.workers.Go(func() { e.reconcileForever(ctx) })
	<-ctx.Done()
	e.delivering <- struct{}{} // for good: nothing is accepted any more
	e.actors.Wait()
	e.workers.Wait()
	return e.flush()
}

func (e *Engine) spawn(a *actor) {
	e.busy.Store(true)
	e.actors.Go(func() { a.run(e.ctx) })
}

// flush saves what changed since it was last saved. Nothing runs any more.
func (e *Engine) flush() error {
	var group sync.WaitGroup
	var failed atomic.Int32
	e.eachActor(func(a *actor) {
		if !a.dirty && !a.sav.failed {
			return
		}
		group.Go(func() {
			if err := e.opt.Store.SaveState(a.spec.ARN, a.st); err != nil {
				failed.Add(1)
				e.log.Error("state of task not saved", zap.String("task", a.spec.ARN), zap.Error(err))
			}
		})
	})
	group.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("save state at shutdown: %d tasks not saved", n)
	}
	return nil
}

// Snapshots returns a picture of every task. It takes no lock that the engine takes.
func (e *Engine) Snapshots() []*task.Snapshot {
	var all []*task.Snapshot
	e.eachActor(func(a *actor) { all = append(all, a.snap.Load()) })
	return all
}

// Snapshot returns a picture of the task, nil when it is not known.
func (e *Engine) Snapshot(arn string) *task.Snapshot {
	if a := e.actor(arn); a != nil {
		return a.snap.Load()
	}
	return nil
}

// Sent tells what ECS has accepted of a task; clean-up waits for STOPPED.
func (e *Engine) Sent(arn string, s task.Sent) {
	if a := e.actor(arn); a != nil {
		a.box.put(sentMessage{s})
	}
}

// CredentialsArrived lets tasks that wait for an execution role look again.
func (e *Engine) CredentialsArrived(id string) {
	e.eachActor(func(a *actor) {
		if a.spec.ExecutionCredentialsID == id {
			a.box.put(wakeMessage{})
		}
	})
}

// SequenceNumber returns the latest sequence number that is durable.
func (e *Engine) SequenceNumber() int64 { return e.seq.Load() }

func (e *Engine) gone(arn string) {
	if p := e.opt.Pictures; p != nil {
		p.Gone(arn)
	}
}

func (e *Engine) actor(arn string) *actor {
	if v, ok := e.tasks.Load(arn); ok {
		return v.(*actor)
	}
	return nil
}

func (e *Engine) eachActor(fn func(*actor)) {
	e.tasks.Range(func(_, v any) bool {
		fn(v.(*actor))
		return true
	})
}

// reconcileSoon asks for a reconciliation.
func (e *Engine) reconcileSoon() {
	select {
	case e.look <- struct{}{}:
	default:
	}
}

// sleep waits, and reports false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
