package stats

import (
	"slices"
	"strings"
	"time"
)

// Round is what was used since the round before (docs/spec/04 section 8.7).
type Round struct {
	At    time.Time
	Idle  bool // no container is measured
	Tasks []TaskUsage
}

// TaskUsage is that of one task.
type TaskUsage struct {
	ARN, Family, Version string
	Containers           []ContainerUsage
	Connect              []ConnectGroup // of its Service Connect proxy, where they are due
	Volumes              []VolumeUsage  // of its EBS volumes
}

// VolumeUsage is how full a volume is.
type VolumeUsage struct {
	ID, Name   string
	Used, Size uint64 // bytes
}

// ContainerUsage is that of one container.
type ContainerUsage struct {
	Name          string
	CPU           FloatSet // percent of the host
	Memory        FloatSet // MiB
	Read, Written CountSet // bytes of block I/O, ever
	Network       *NetworkSets
	Restarts      *int // since the last round; nil without a restart policy
}

// Round hands over what was gathered: each sample is in exactly one round. A
// container without two samples, or without a new one, is not in it.
func (c *Collector) Round() Round {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Round{At: time.Now(), Idle: len(c.tasks) == 0}
	for _, t := range c.tasks {
		if u := t.round(); len(u.Containers) > 0 {
			r.Tasks = append(r.Tasks, u)
		}
	}
	slices.SortFunc(r.Tasks, func(a, b TaskUsage) int { return strings.Compare(a.ARN, b.ARN) })
	return r
}

// round is called with the Collector's lock held.
func (t *tracked) round() TaskUsage {
	u := TaskUsage{ARN: t.spec.ARN, Family: t.spec.Family, Version: t.spec.Version}
	var shared *NetworkSets
	if t.net != nil {
		shared = t.net.traffic.round()
	}
	for i := range t.spec.Containers {
		m := t.containers[t.spec.Containers[i].Name]
		if m == nil || !m.usage.ready() {
			continue
		}
		u.Containers = append(u.Containers, m.round(shared))
	}
	if len(u.Containers) > 0 && t.net != nil {
		t.net.traffic.sets = NetworkSets{}
	}
	return u
}

func (m *container) round(shared *NetworkSets) ContainerUsage {
	u := ContainerUsage{
		Name: m.name, CPU: m.usage.cpu, Memory: m.usage.memory, Read: m.usage.read, Written: m.usage.wrote,
	}
	switch {
	case m.mute:
	case m.shared != nil:
		u.Network = shared
	default:
		u.Network = m.usage.net.round()
	}
	if m.restarts {
		if n := m.count - m.usage.restartsSent; n >= 0 {
			u.Restarts = &n
		}
		m.usage.restartsSent = m.count
	}
	m.usage.reset()
	return u
}
