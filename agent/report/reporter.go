package report

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/task"
)

const (
	// maxInFlight is how many tasks are submitting at once (docs/spec/01 1.10.4).
	maxInFlight = 10
	// drainMin and drainSpread bound how long a container's change waits for a task
	// change to ride on.
	drainMin    = 10 * time.Second
	drainSpread = 20 * time.Second
	// soonMin and soonSpread bound how long the change of an exec agent waits: somebody may
	// wait to send a command.
	soonMin    = 200 * time.Millisecond
	soonSpread = 300 * time.Millisecond

	// The first pause after a failed submission is short: most failures pass at once.
	retryMin    = 100 * time.Millisecond
	retryMax    = 30 * time.Second
	refusedMax  = 5 * time.Minute // ECS answers, and says no
	retryFactor = 1.6
	retryJitter = 0.2

	// callTimeout bounds one submission, its connection included.
	callTimeout = 42 * time.Second
)

// API is the ECS API as this package needs it.
type API interface {
	SubmitTaskStateChange(context.Context, *ecsapi.SubmitTaskStateChangeInput) (*ecsapi.SubmitTaskStateChangeOutput, error)
	SubmitAttachmentStateChanges(context.Context, *ecsapi.SubmitAttachmentStateChangesInput) (*ecsapi.SubmitAttachmentStateChangesOutput, error)
}

// Store keeps what ECS has accepted.
type Store interface {
	SaveSent(arn string, sent task.Sent) error
}

// Options says where reports go.
type Options struct {
	API     API
	Store   Store
	Cluster func() string
	// OnSent is told what ECS has accepted of a task, after it is durable. It must
	// not block.
	OnSent func(arn string, sent task.Sent)
	// ExcludeIPv6Bindings drops bindings on :: (ECS_EXCLUDE_IPV6_PORTBINDING),
	// ExcludeIPv4Bindings those on 0.0.0.0 (IPv6-only hosts).
	ExcludeIPv6Bindings, ExcludeIPv4Bindings bool

	Log *zap.Logger
}

// Reporter is the outbox. Observe, Restore and Forget never wait for the network or
// the disk.
type Reporter struct {
	options Options
	filter  filter
	workers sync.WaitGroup

	mu       sync.Mutex
	ctx      context.Context // nil until Run, done when it ends
	tasks    map[string]*outbox
	ready    []*outbox // have something to send and nobody sending it
	active   int       // workers
	draining *time.Timer
	drainAt  time.Time // when draining is due
}

// outbox is what is owed for one task.
type outbox struct {
	arn    string
	last   *task.Snapshot
	queued task.Sent // what pending and partial cover
	sent   task.Sent // what ECS has accepted

	partial news     // waits for a task change
	pending []change // oldest first
	busy    bool     // in ready, being sent or backing off
	gone    bool     // the task was forgotten

	failures int
	backoff  awsenv.Backoff
}

// New returns a Reporter that sends once Run is called.
func New(o Options) *Reporter {
	return &Reporter{
		options: o, tasks: make(map[string]*outbox),
		filter: filter{excludeIPv6: o.ExcludeIPv6Bindings, excludeIPv4: o.ExcludeIPv4Bindings},
	}
}

// Run sends until ctx ends, and then waits for what is under way to be dropped. What
// was not accepted is owed at the next start.
func (r *Reporter) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.dispatch()
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	if r.draining != nil {
		r.draining.Stop()
	}
	r.mu.Unlock()
	r.workers.Wait()
	return nil
}

// Restore tells what ECS had accepted of a task before the agent was restarted. It
// must be called before the task is observed.
func (r *Reporter) Restore(arn string, sent task.Sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.outbox(arn)
	o.sent, o.queued = cloneSent(sent), cloneSent(sent)
}

// Forget drops a task that was cleaned up.
func (r *Reporter) Forget(arn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o, ok := r.tasks[arn]; ok {
		o.gone, o.pending, o.partial = true, nil, news{}
		delete(r.tasks, arn)
	}
}

// Observe takes note of a task's new state, which must already be durable.
func (r *Reporter) Observe(s *task.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.outbox(s.ARN)
	o.last = s
	o.partial.containers = append(o.partial.containers, r.filter.containerChanges(s, &o.queued)...)
	o.partial.addAgents(s, &o.queued)
	switch {
	case taskChangeDue(s, o.queued):
		o.queued.Task = s.State.Known
		o.pending = append(o.pending, newChange(s, o.partial))
		o.partial = news{}
		r.enqueue(o)
	case len(o.partial.agents) > 0:
		r.armDrain(soonMin + rand.N(soonSpread))
	case !o.partial.empty():
		r.armDrain(drainMin + rand.N(drainSpread))
	}
}

func (r *Reporter) outbox(arn string) *outbox {
	o, ok := r.tasks[arn]
	if !ok {
		o = &outbox{arn: arn, backoff: newBackoff()}
		r.tasks[arn] = o
	}
	return o
}

func newBackoff() awsenv.Backoff {
	return awsenv.Backoff{Min: retryMin, Max: retryMax, Jitter: retryJitter, Multiplier: retryFactor}
}

// armDrain makes sure that container changes without a task change are sent too, in a
// while or before.
func (r *Reporter) armDrain(in time.Duration) {
	due := time.Now().Add(in)
	switch {
	case r.draining == nil:
		r.draining, r.drainAt = time.AfterFunc(in, r.drain), due
	case due.Before(r.drainAt):
		r.draining.Reset(in)
		r.drainAt = due
	}
}

// drain sends the container changes that found no task change to ride on, with the
// task's present status. A task that stops for a cause of its own keeps them until it has
// stopped: ECS tells the owner the first cause that it hears, and an essential container
// that the agent stopped would be one.
func (r *Reporter) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = nil
	for _, o := range r.tasks {
		if !o.partial.empty() && o.last.State.TerminalReason == "" {
			o.pending = append(o.pending, newChange(o.last, o.partial))
			o.partial = news{}
			r.enqueue(o)
		}
	}
}

// enqueue hands the outbox to the workers, unless one has it.
func (r *Reporter) enqueue(o *outbox) {
	if !o.busy && len(o.pending) > 0 {
		o.busy = true
		r.ready = append(r.ready, o)
		r.dispatch()
	}
}

// dispatch starts workers for what is ready. Idle workers do not exist.
func (r *Reporter) dispatch() {
	if r.ctx == nil || r.ctx.Err() != nil {
		return
	}
	for free := len(r.ready); free > 0 && r.active < maxInFlight; free-- {
		r.active++
		r.workers.Go(r.work)
	}
}

// work sends what is ready until nothing is.
func (r *Reporter) work() {
	for {
		r.mu.Lock()
		if len(r.ready) == 0 || r.ctx.Err() != nil {
			r.active--
			r.mu.Unlock()
			return
		}
		o := r.ready[0]
		r.ready = r.ready[1:]
		if len(o.pending) == 0 {
			o.busy = false
			r.mu.Unlock()
			continue
		}
		next := o.pending[0]
		r.mu.Unlock()
		r.settle(o, next, r.submit(o.arn, next))
	}
}

func (r *Reporter) submit(arn string, c change) error {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	_, err := r.options.API.SubmitTaskStateChange(ctx, wireChange(r.options.Cluster(), arn, c))
	return err
}

// settle records the outcome of a submission and decides what is next.
func (r *Reporter) settle(o *outbox, c change, err error) {
	if err != nil && r.ctx.Err() != nil {
		return
	}
	log := r.options.Log.With(zap.String("task", o.arn), zap.Stringer("status", c.status))
	if err != nil && !hopeless(err) {
		r.backOff(o, log, err)
		return
	}
	if err != nil {
		log.Error("state change refused for good", zap.Error(err))
	} else {
		log.Info("state change submitted", zap.String("reason", c.reason))
	}
	sent := raise(o.sent, c)
	if saveErr := r.options.Store.SaveSent(o.arn, sent); saveErr != nil {
		log.Error("save what was submitted", zap.Error(saveErr))
	}
	r.mu.Lock()
	gone := o.gone
	o.sent, o.failures = sent, 0
	o.backoff.Reset()
	if !gone {
		o.pending = o.pending[1:]
	}
	o.busy = false
	r.enqueue(o)
	r.mu.Unlock()
	if r.options.OnSent != nil && !gone {
		r.options.OnSent(o.arn, sent)
	}
}

// backOff tries the same change again later. No worker waits for it.
func (r *Reporter) backOff(o *outbox, log *zap.Logger, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.failures++
	o.backoff.Max = retryMax
	var refused *ecsapi.Error
	if errors.As(err, &refused) && !refused.Retryable() {
		o.backoff.Max = refusedMax
	}
	pause := o.backoff.Next()
	log.Warn("state change not submitted", zap.Error(err), zap.Int("attempt", o.failures), zap.Duration("retry_in", pause))
	time.AfterFunc(pause, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ready = append(r.ready, o)
		r.dispatch()
	})
}

// hopeless reports whether ECS will never accept the change (docs/spec/01 1.10.4).
func hopeless(err error) bool {
	var refused *ecsapi.Error
	return errors.As(err, &refused) && refused.Code == "InvalidParameterException"
}
