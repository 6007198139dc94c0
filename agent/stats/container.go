package stats

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// container is one container that is measured. The loop owns it but for what is said
// to be otherwise.
type container struct {
	name     string
	slashed  string // Docker's name
	target   Target
	mute     bool         // its traffic is not told to ECS: it stands for its task's
	restarts bool         // it has a restart policy
	shared   *taskNetwork // its task's, or nil

	meter     Meter
	retryAt   time.Time
	retries   int
	backwards int // readings in a row

	count int   // restarts so far
	base  *Base // what was used before the last restart

	wholeAt time.Time    // of the last whole reading
	looked  atomic.Int64 // when somebody asked for the latest sample, in Unix nanoseconds

	last  atomic.Pointer[Sample]
	rates atomic.Pointer[NetworkRates]

	usage usage // the Collector's lock guards it
}

func (c *Collector) newContainer(t *tracked, spec *task.Container, state *task.ContainerState) *container {
	own := t.spec.NetworkMode != "host" && t.spec.NetworkMode != "none" && t.spec.NetworkMode != "awsvpc"
	m := &container{
		name: spec.Name, slashed: "/" + state.DockerName, mute: spec.Type == task.CNIPause,
		target:   Target{ID: state.RuntimeID, TaskID: t.spec.ID(), OwnNetwork: own},
		restarts: spec.Restart != nil && spec.Restart.Enabled, shared: t.net, count: state.RestartCount,
	}
	m.usage.restartsSent = state.RestartCount
	if m.restarts && m.count > 0 && c.opt.Bases != nil {
		b, err := c.opt.Bases.LoadBase(m.target.ID)
		if err != nil {
			c.log.Warn("usage before a restart not known", zap.String("container", m.name), zap.Error(err))
		}
		m.base = b
	}
	return m
}

func (m *container) close() {
	if m.meter != nil {
		m.meter.Close()
		m.meter = nil
	}
}

// response is the latest sample as the endpoints show it; nil without one.
func (m *container) response() *Response {
	s := m.last.Load()
	if s == nil {
		return nil
	}
	r := &Response{Sample: *s, Rates: m.rates.Load()}
	if m.shared != nil {
		r.Networks, r.Rates = m.shared.latest()
	}
	return r
}

// restarted makes what was used so far the base of the counters to come.
func (c *Collector) restarted(m *container, count int) {
	if !m.restarts || count <= m.count {
		return
	}
	m.close()
	m.target.Again = false
	m.retryAt, m.retries, m.backwards = time.Time{}, 0, 0
	if last := m.last.Load(); last != nil {
		m.base = base(last, count)
		if c.opt.Bases != nil {
			if err := c.opt.Bases.SaveBase(m.target.ID, m.base); err != nil {
				c.log.Warn("usage before a restart not saved", zap.String("container", m.name), zap.Error(err))
			}
		}
	}
	c.change(func() { m.count = count })
}

// sample reads one container. What fails is tried again, after a pause.
func (c *Collector) sample(ctx context.Context, m *container, host Host) {
	if m.meter == nil && time.Now().Before(m.retryAt) {
		return
	}
	s, err := c.read(ctx, m, host)
	if err == nil {
		m.retries, m.backwards = 0, 0
		c.accept(m, s)
		return
	}
	if errors.Is(err, errBackwards) {
		if m.backwards++; m.backwards >= maxBackwards {
			// It was started anew by somebody else: there is nothing to compare with.
			m.last.Store(nil)
			m.rates.Store(nil)
			c.change(func() { m.usage = usage{restartsSent: m.usage.restartsSent} })
		}
		return
	}
	m.close()
	m.retryAt = time.Now().Add(c.pause(m.retries))
	m.retries++
	if ctx.Err() == nil {
		c.log.Debug("usage not read", zap.String("container", m.name), zap.Int("attempt", m.retries), zap.Error(err))
	}
}

// pause is how long to wait after so many failures in a row.
func (c *Collector) pause(failures int) time.Duration {
	d := min(retryMin<<min(failures, 8), retryMax)
	return d + time.Duration(c.rand()*retryJitter*float64(d))
}

// read takes one reading and completes it.
func (c *Collector) read(ctx context.Context, m *container, host Host) (s *Sample, err error) {
	if m.meter == nil {
		if m.meter, err = c.opt.Source.Open(ctx, m.target); err != nil {
			m.meter = nil
			return nil, err
		}
		m.target.Again = true
	}
	now := time.Now()
	whole := now.Sub(m.wholeAt) >= wholeEvery || now.Sub(time.Unix(0, m.looked.Load())) < lookedAt
	if s, err = m.meter.Read(ctx, whole); err != nil {
		return nil, err
	}
	if whole {
		m.wholeAt = now
	}
	s.ID, s.Name = m.target.ID, m.slashed
	s.CPU.System, s.CPU.Online = host.CPUTime, host.CPUs
	if m.base != nil {
		m.base.addTo(s, c.opt.Windows)
	}
	before := m.last.Load()
	if err := check(s, before); err != nil {
		return nil, err
	}
	if before != nil {
		s.PreRead, s.PreCPU = before.Read, before.CPU
	}
	return s, nil
}

// accept makes a good sample the latest.
func (c *Collector) accept(m *container, s *Sample) {
	before := m.last.Load()
	c.mu.Lock()
	m.usage.take(s, before, c.opt.Windows)
	m.usage.net.take(s.Networks, s.Read)
	rates := m.usage.net.rates
	c.mu.Unlock()
	m.rates.Store(rates)
	m.last.Store(s)
}
