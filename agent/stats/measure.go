package stats

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// What makes a reading unusable (docs/spec/04 section 8.3). It is dropped.
var (
	errNoTime    = errors.New("the reading has no time")
	errNoCPUs    = errors.New("the number of processors is not known")
	errBackwards = errors.New("CPU time went backwards")
)

// check refuses a reading that cannot be right, given the one before it, if any.
func check(s, before *Sample) error {
	switch {
	case s.Read.IsZero():
		return errNoTime
	case s.CPU.Online == 0:
		return errNoCPUs
	case before != nil && s.CPU.Usage.Total < before.CPU.Usage.Total:
		return fmt.Errorf("%w: %d after %d", errBackwards, s.CPU.Usage.Total, before.CPU.Usage.Total)
	}
	return nil
}

// cpuPercent is the CPU time between two samples in percent of the whole host
// (docs/spec/04 section 8.4).
func cpuPercent(s, before *Sample, windows bool) float64 {
	span := s.Read.Sub(before.Read)
	if span <= 0 || s.CPU.Online == 0 {
		return math.NaN()
	}
	used := perCPU(s, windows) - min(perCPU(s, windows), perCPU(before, windows))
	return 100 * float64(used) / float64(span.Nanoseconds())
}

// perCPU is a container's CPU time in ns, spread over all processors.
func perCPU(s *Sample, windows bool) uint64 {
	used := s.CPU.Usage.Total
	if windows {
		used *= 100 // it is in units of 100 ns
	}
	return used / uint64(max(1, s.CPU.Online))
}

const mebibyte = 1 << 20

// memoryMiB is what the container keeps others from using: cache that the kernel can
// drop does not count (docs/spec/04 section 8.4).
func memoryMiB(m *Memory, windows bool) float64 {
	if windows {
		return float64(m.PrivateWorkingSet / mebibyte)
	}
	used := m.Usage
	if _, v2 := m.Stats.Get("anon"); v2 {
		if inactive, ok := m.Stats.Get("inactive_file"); ok && inactive < used {
			return float64((used - inactive) / mebibyte)
		}
	}
	if cache, ok := m.Stats.Get("cache"); ok && cache < used {
		used -= cache
	}
	return float64(used / mebibyte)
}

// moved are the bytes that were read from and written to block devices.
func moved(s *Sample, windows bool) (read, written uint64) {
	if windows {
		return s.Storage.ReadBytes, s.Storage.WriteBytes
	}
	for _, e := range s.Block.ServiceBytes {
		switch {
		case strings.EqualFold(e.Op, "read"):
			read += e.Value
		case strings.EqualFold(e.Op, "write"):
			written += e.Value
		}
	}
	return read, written
}

// rates are those between two readings of all interfaces; nil when they cannot be
// told. A counter that went backwards counts as not moved.
func rates(now, before Network, span time.Duration) *NetworkRates {
	if span <= 0 {
		return nil
	}
	rate := func(now, before uint64) float32 {
		return float32(float64(now-min(now, before)) / span.Seconds())
	}
	return &NetworkRates{Rx: rate(now.RxBytes, before.RxBytes), Tx: rate(now.TxBytes, before.TxBytes)}
}
