package stats

import (
	"maps"
	"slices"
)

// Base is what a container had used when it was last restarted. Its counters then
// start at zero again; what was before is added, so that they only rise
// (docs/spec/04 section 8.5).
type Base struct {
	Restarts int // the restart from which on it counts
	Sample   Sample
}

// addTo adds what was used before the restart to a sample of after it. The sample
// must not have been handed over yet.
func (b *Base) addTo(s *Sample, windows bool) {
	old := &b.Sample
	s.CPU.Usage.Total += old.CPU.Usage.Total
	s.CPU.Usage.Kernel += old.CPU.Usage.Kernel
	s.CPU.Usage.User += old.CPU.Usage.User
	if windows {
		s.Storage.ReadCount += old.Storage.ReadCount
		s.Storage.ReadBytes += old.Storage.ReadBytes
		s.Storage.WriteCount += old.Storage.WriteCount
		s.Storage.WriteBytes += old.Storage.WriteBytes
		s.Memory.CommitPeak = max(s.Memory.CommitPeak, old.Memory.CommitPeak)
	} else {
		s.CPU.Usage.PerCPU = addEach(s.CPU.Usage.PerCPU, old.CPU.Usage.PerCPU)
		s.CPU.Throttling.Periods += old.CPU.Throttling.Periods
		s.CPU.Throttling.Throttled += old.CPU.Throttling.Throttled
		s.CPU.Throttling.Time += old.CPU.Throttling.Time
		s.Memory.Failures += old.Memory.Failures
		s.Memory.Max = max(s.Memory.Max, old.Memory.Max)
		s.Block.add(&old.Block)
	}
	for name, n := range s.Networks {
		if before, ok := old.Networks[name]; ok {
			s.Networks[name] = n.plus(before, windows)
		}
	}
}

func (n Network) plus(o Network, windows bool) Network {
	n.RxBytes += o.RxBytes
	n.RxPackets += o.RxPackets
	n.RxDropped += o.RxDropped
	n.TxBytes += o.TxBytes
	n.TxPackets += o.TxPackets
	n.TxDropped += o.TxDropped
	if !windows {
		n.RxErrors += o.RxErrors
		n.TxErrors += o.TxErrors
	}
	return n
}

// addEach adds two lists element by element; the longer one gives the length.
func addEach(a, b []uint64) []uint64 {
	sum := make([]uint64, max(len(a), len(b)))
	copy(sum, a)
	for i, v := range b {
		sum[i] += v
	}
	return sum
}

// add adds all lists but that of the queue, which is no counter.
func (b *Block) add(old *Block) {
	b.ServiceBytes = addEntries(old.ServiceBytes, b.ServiceBytes)
	b.Serviced = addEntries(old.Serviced, b.Serviced)
	b.ServiceTime = addEntries(old.ServiceTime, b.ServiceTime)
	b.WaitTime = addEntries(old.WaitTime, b.WaitTime)
	b.Merged = addEntries(old.Merged, b.Merged)
	b.Time = addEntries(old.Time, b.Time)
	b.Sectors = addEntries(old.Sectors, b.Sectors)
}

// addEntries adds entries of the same device and operation. The old ones come first,
// each in the order in which it first appeared.
func addEntries(old, now []BlockEntry) []BlockEntry {
	if len(old) == 0 {
		return now
	}
	sum := slices.Clone(old)
	for _, e := range now {
		i := slices.IndexFunc(sum, func(s BlockEntry) bool { return s.Major == e.Major && s.Minor == e.Minor && s.Op == e.Op })
		if i < 0 {
			sum = append(sum, e)
		} else {
			sum[i].Value += e.Value
		}
	}
	return sum
}

// base makes the sample the base of what comes after the restart.
func base(s *Sample, restarts int) *Base {
	b := &Base{Restarts: restarts, Sample: *s}
	b.Sample.PreCPU, b.Sample.Memory.Stats = CPU{}, Details{} // no counters
	b.Sample.Networks = maps.Clone(s.Networks)
	return b
}
