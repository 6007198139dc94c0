package kernel

import (
	"bytes"
	"fmt"
	"math"

	"ecsagent/agent/stats"
)

// legacyMemory are the keys of memory.stat that Docker shows with cgroup v1.
var legacyMemory = stats.NewNames(
	"cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault", "pgmajfault",
	"inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
	"hierarchical_memory_limit", "hierarchical_memsw_limit",
	"total_cache", "total_rss", "total_rss_huge", "total_mapped_file", "total_dirty", "total_writeback",
	"total_pgpgin", "total_pgpgout", "total_pgfault", "total_pgmajfault", "total_inactive_anon",
	"total_active_anon", "total_inactive_file", "total_active_file", "total_unevictable",
)

// tick is the unit of cpuacct.stat and /proc/stat, in ns: a constant of Linux.
const tick = 10_000_000

// parsePerCPU reads cpuacct.usage_percpu.
func parsePerCPU(text []byte, s *stats.Sample) error {
	line := bytes.TrimSpace(text)
	list := make([]uint64, 0, bytes.Count(line, []byte{' '})+1)
	for len(line) > 0 {
		var word []byte
		word, line = next(line)
		if len(word) == 0 {
			break
		}
		n, err := parseNumber(word)
		if err != nil {
			return fmt.Errorf("cpuacct.usage_percpu: %w", err)
		}
		list = append(list, n)
	}
	s.CPU.Usage.PerCPU = list
	return nil
}

// parseCPUModes reads cpuacct.stat.
func parseCPUModes(text []byte, s *stats.Sample) error {
	return eachPair(text, func(key []byte, value uint64) {
		switch string(key) {
		case "user":
			s.CPU.Usage.User = value * tick
		case "system":
			s.CPU.Usage.Kernel = value * tick
		}
	})
}

// parseThrottling reads cpu.stat of version 1.
func parseThrottling(text []byte, s *stats.Sample) error {
	return eachPair(text, func(key []byte, value uint64) {
		switch string(key) {
		case "nr_periods":
			s.CPU.Throttling.Periods = value
		case "nr_throttled":
			s.CPU.Throttling.Throttled = value
		case "throttled_time":
			s.CPU.Throttling.Time = value
		}
	})
}

// parsePidsMax reads pids.max; without a limit Docker shows none here.
func parsePidsMax(text []byte, s *stats.Sample) error {
	n, err := parseNumber(bytes.TrimSpace(text))
	if n != math.MaxUint64 {
		s.Pids.Limit = n
	}
	return err
}

// ops are the words of the kernel's, so that a sample need not copy them.
var ops = map[string]string{
	"Read": "Read", "Write": "Write", "Sync": "Sync", "Async": "Async", "Discard": "Discard", "Total": "Total",
}

// entries reads a list of block I/O: "8:0 Read 4096" or "8:0 4096" a line. A list that
// an earlier file has filled stays.
func entries(list func(*stats.Block) *[]stats.BlockEntry) func([]byte, *stats.Sample) error {
	return func(text []byte, s *stats.Sample) error {
		to := list(&s.Block)
		if len(*to) > 0 {
			return nil
		}
		return eachLine(text, func(line []byte) error {
			device, rest := next(line)
			if string(device) == "Total" {
				return nil // of all devices
			}
			var e stats.BlockEntry
			var err error
			if e.Major, e.Minor, err = parseDevice(device); err != nil {
				return err
			}
			word, rest := next(rest)
			if value, _ := next(rest); len(value) > 0 {
				op, known := ops[string(word)]
				if !known {
					op = string(word)
				}
				e.Op, word = op, value
			}
			if e.Value, err = parseNumber(word); err != nil {
				return fmt.Errorf("block I/O of device %d:%d: %w", e.Major, e.Minor, err)
			}
			*to = append(*to, e)
			return nil
		})
	}
}
