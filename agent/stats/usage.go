package stats

import (
	"math"
	"time"
)

// usage gathers what one container uses between two rounds. The Collector's lock
// guards it.
type usage struct {
	samples      int // ever
	cpu, memory  FloatSet
	read, wrote  CountSet
	net          traffic
	lastCPU      float64 // NaN until there is one
	restartsSent int     // restarts told of in earlier rounds
}

// take works a sample in.
func (u *usage) take(s, before *Sample, windows bool) {
	u.samples++
	percent := math.NaN()
	if before != nil {
		if percent = cpuPercent(s, before, windows); math.IsNaN(percent) {
			percent = u.lastCPU // the same moment twice: the value before stands
		}
	}
	u.lastCPU = percent
	u.cpu.add(percent)
	u.memory.add(memoryMiB(&s.Memory, windows))
	read, written := moved(s, windows)
	u.read.add(read)
	u.wrote.add(written)
}

// ready reports whether there is enough to be published: two samples ever, and a
// value of CPU and memory since the last round.
func (u *usage) ready() bool { return u.samples >= 2 && u.cpu.Count > 0 && u.memory.Count > 0 }

func (u *usage) reset() {
	u.cpu, u.memory, u.read, u.wrote = FloatSet{}, FloatSet{}, CountSet{}, CountSet{}
	u.net.sets = NetworkSets{}
}

// traffic follows the network counters of a container or a task.
type traffic struct {
	samples int
	last    Network
	at      time.Time
	rates   *NetworkRates // the latest
	sets    NetworkSets
}

func (t *traffic) take(networks map[string]Network, at time.Time) {
	if len(networks) == 0 {
		return
	}
	sum := total(networks)
	if t.samples > 0 {
		if r := rates(sum, t.last, at.Sub(t.at)); r != nil {
			t.rates = r
		}
	}
	t.samples++
	t.last, t.at = sum, at
	t.sets.add(sum, t.rates)
}

// round returns what was gathered, nil when that is not enough.
func (t *traffic) round() *NetworkSets {
	if t.samples < 2 || t.sets.RxBytes.Count == 0 {
		return nil
	}
	sets := t.sets
	return &sets
}
