package stats

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// Times of the loop (docs/spec/04 section 8.3, docs/spec/01 section 4.3).
const (
	every                  = time.Second
	retryMin, retryMax     = time.Second, 10 * time.Second
	retryJitter            = 0.5
	defaultTaskNetworkWait = 10 * time.Second
	// Between whole readings of a container there are at most wholeEvery, and none is
	// anything else while somebody looks at them: so long after each look.
	wholeEvery, lookedAt = 10 * time.Second, 30 * time.Second
	// maxBackwards is how many readings in a row may be below the last good one, with
	// a restart that explains it perhaps on its way, until a new start is assumed.
	maxBackwards = 5
)

// Options make a Collector. Source and Log are required.
type Options struct {
	Source Source
	Log    *zap.Logger
	// Every is the time between two readings of a container; default 1 s.
	Every time.Duration
	// TaskNetworkEvery is the time between two readings of a task's interfaces
	// (ECS_POLLING_METRICS_WAIT_DURATION); default 10 s.
	TaskNetworkEvery time.Duration
	// Windows selects the units and fields that Windows has.
	Windows bool
	// Bases keeps what was used before restarts over the end of the process; nil
	// keeps it in memory alone.
	Bases Bases
	Rand  func() float64 // uniform in [0,1); default math/rand/v2
}

// Bases makes the bases of restarted containers durable, by Docker id.
type Bases interface {
	SaveBase(id string, b *Base) error
	LoadBase(id string) (*Base, error) // nil when there is none
	DeleteBase(id string) error
}

// Collector measures the containers that run. Make it with New, call Run once and
// Observe for each change of a task; the other methods may be called at any time.
type Collector struct {
	opt  Options
	log  *zap.Logger
	rand func() float64

	byID sync.Map // Docker id -> *container, those that are tracked

	wake chan struct{} // holds one token: there is something in changed

	mu      sync.Mutex
	changed map[string]*task.Snapshot // by task ARN, the latest; nil when the task is gone
	tasks   map[string]*tracked       // by ARN; only the loop writes
}

// tracked is a task with containers that are measured.
type tracked struct {
	spec       *task.Spec
	containers map[string]*container // by name
	net        *taskNetwork          // nil unless the task has interfaces of its own
}

// New makes a Collector that measures nothing yet.
func New(o Options) *Collector {
	if o.Every <= 0 {
		o.Every = every
	}
	if o.TaskNetworkEvery <= 0 {
		o.TaskNetworkEvery = defaultTaskNetworkWait
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return &Collector{
		opt: o, log: o.Log, rand: o.Rand, wake: make(chan struct{}, 1),
		changed: make(map[string]*task.Snapshot), tasks: make(map[string]*tracked),
	}
}

// Observe tells of a task's new state. It never blocks. A nil Collector takes no
// notice.
func (c *Collector) Observe(s *task.Snapshot) { c.hear(s.ARN, s) }

// Gone tells that a task is not known any more.
func (c *Collector) Gone(arn string) { c.hear(arn, nil) }

func (c *Collector) hear(arn string, s *task.Snapshot) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.changed[arn] = s
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// Stats returns the latest usage of a container by its Docker id. Without a sample
// so far it is nil; tracked is false for a container that is not measured, because it
// does not run (docs/spec/04 section 3.12). It takes no lock. A nil Collector measures
// nothing.
func (c *Collector) Stats(id string) (r *Response, tracked bool) {
	if c == nil {
		return nil, false
	}
	found, ok := c.byID.Load(id)
	if !ok {
		return nil, false
	}
	m := found.(*container)
	m.looked.Store(time.Now().UnixNano())
	return m.response(), true
}

// Run measures until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	defer c.drop()
	ticker := time.NewTicker(c.opt.Every)
	ticker.Stop() // an idle host is not woken
	defer ticker.Stop()
	ticking := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			c.adopt(ctx)
			if some := len(c.tasks) > 0; some != ticking {
				ticking = some
				if ticking {
					ticker.Reset(c.opt.Every)
				} else {
					ticker.Stop()
				}
			}
		case <-ticker.C:
			c.measure(ctx)
		}
	}
}

// drop ends all measuring.
func (c *Collector) drop() {
	c.mu.Lock()
	tasks := c.tasks
	c.tasks = make(map[string]*tracked)
	c.mu.Unlock()
	for _, t := range tasks {
		for _, m := range t.containers {
			c.byID.Delete(m.target.ID)
			m.close()
		}
	}
}

// adopt takes the changes of tasks in, and measures what is new at once.
func (c *Collector) adopt(ctx context.Context) {
	c.mu.Lock()
	changed := c.changed
	c.changed = make(map[string]*task.Snapshot, len(changed))
	c.mu.Unlock()
	var started []*container
	for arn, s := range changed {
		if s == nil {
			c.leave(arn)
			continue
		}
		started = append(started, c.follow(s)...)
	}
	if len(started) == 0 {
		return
	}
	host, err := c.opt.Source.Host(ctx)
	if err != nil {
		c.log.Debug("usage of the host not read", zap.Error(err))
		return
	}
	for _, m := range started {
		c.sample(ctx, m, host)
	}
}

// follow brings what is tracked of a task in line with its state and returns the
// containers that are new.
func (c *Collector) follow(s *task.Snapshot) (started []*container) {
	t := c.tasks[s.ARN]
	if s.ARN == "" || s.Family == "" {
		return nil
	}
	var gone []*container
	for i := range s.Containers {
		spec, state := &s.Containers[i], &s.State.Containers[i]
		var m *container
		if t != nil {
			m = t.containers[spec.Name]
		}
		runs := s.State.Known != task.Stopped && state.Known.IsRunning() && state.RuntimeID != ""
		if m != nil && (!runs || m.target.ID != state.RuntimeID) {
			gone = append(gone, m)
			c.change(func() { delete(t.containers, spec.Name) })
			m = nil
		}
		if !runs {
			continue
		}
		if m == nil {
			if t == nil {
				t = newTracked(s.Spec)
			}
			m = c.newContainer(t, spec, state)
			c.change(func() { t.containers[spec.Name] = m; c.tasks[s.ARN] = t })
			started = append(started, m)
		}
		c.restarted(m, state.RestartCount)
	}
	if t != nil && len(t.containers) == 0 {
		c.change(func() { delete(c.tasks, s.ARN) })
	}
	for _, m := range gone {
		c.forget(m)
	}
	for _, m := range started {
		c.byID.Store(m.target.ID, m)
	}
	return started
}

// leave forgets a task that is not known any more.
func (c *Collector) leave(arn string) {
	t := c.tasks[arn]
	if t == nil {
		return
	}
	c.change(func() { delete(c.tasks, arn) })
	for _, m := range t.containers {
		c.forget(m)
	}
}

// forget ends the measuring of a container that runs no more.
func (c *Collector) forget(m *container) {
	c.byID.CompareAndDelete(m.target.ID, m)
	m.close()
	if m.base != nil && c.opt.Bases != nil {
		if err := c.opt.Bases.DeleteBase(m.target.ID); err != nil {
			c.log.Debug("usage before a restart not forgotten", zap.String("container", m.name), zap.Error(err))
		}
	}
}

// change alters what a Round reads.
func (c *Collector) change(how func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how()
}

func newTracked(spec *task.Spec) *tracked {
	t := &tracked{spec: spec, containers: make(map[string]*container)}
	if spec.NetworkMode == "awsvpc" {
		t.net = &taskNetwork{}
	}
	return t
}

// measure takes one sample of every container, and of the tasks' interfaces where
// one is due.
func (c *Collector) measure(ctx context.Context) {
	host, err := c.opt.Source.Host(ctx)
	if err != nil {
		c.log.Debug("usage of the host not read", zap.Error(err))
		return
	}
	now := time.Now()
	for _, t := range c.tasks {
		if ctx.Err() != nil {
			return
		}
		if t.net != nil && !now.Before(t.net.due) {
			c.taskNetwork(ctx, t, now)
		}
		for _, m := range t.containers {
			c.sample(ctx, m, host)
		}
	}
}
