package stats

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// taskNetwork follows the interfaces of a task in awsvpc mode: its containers share
// them, and show the same counters (docs/spec/04 section 8.6).
type taskNetwork struct {
	due     time.Time // the loop's
	shown   atomic.Pointer[shownNetwork]
	traffic traffic // the Collector's lock guards it
}

type shownNetwork struct {
	networks map[string]Network
	rates    *NetworkRates
}

func (n *taskNetwork) latest() (map[string]Network, *NetworkRates) {
	if s := n.shown.Load(); s != nil {
		return s.networks, s.rates
	}
	return nil, nil
}

// taskNetwork reads the interfaces of a task. The first reading comes one interval
// after the task's network stands.
func (c *Collector) taskNetwork(ctx context.Context, t *tracked, now time.Time) {
	first := t.net.due.IsZero()
	t.net.due = now.Add(c.opt.TaskNetworkEvery)
	var pause *container
	for i := range t.spec.Containers {
		if t.spec.Containers[i].Type == task.CNIPause {
			pause = t.containers[t.spec.Containers[i].Name]
		}
	}
	if first || pause == nil {
		return
	}
	target := pause.target
	for i := range t.spec.ENIs {
		target.MACs = append(target.MACs, t.spec.ENIs[i].MAC)
	}
	networks, err := c.opt.Source.TaskNetwork(ctx, target)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Debug("network usage not read", zap.String("task", t.spec.ARN), zap.Error(err))
		}
		return
	}
	c.mu.Lock()
	t.net.traffic.take(networks, now)
	rates := t.net.traffic.rates
	c.mu.Unlock()
	if len(networks) > 0 {
		t.net.shown.Store(&shownNetwork{networks, rates})
	}
}
