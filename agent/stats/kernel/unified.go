package kernel

import (
	"bytes"
	"fmt"

	"ecsagent/agent/stats"
)

// unifiedMemory are the keys of memory.stat that Docker shows with cgroup v2. Those
// that a kernel lacks are 0.
var unifiedMemory = stats.NewNames(
	"anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback",
	"anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
	"slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault",
	"workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate",
	"pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc",
)

const microsecond = 1000 // in ns

// parseUnifiedCPU reads cpu.stat of version 2.
func parseUnifiedCPU(text []byte, s *stats.Sample) error {
	found := false
	err := eachPair(text, func(key []byte, value uint64) {
		switch string(key) {
		case "usage_usec":
			s.CPU.Usage.Total, found = value*microsecond, true
		case "user_usec":
			s.CPU.Usage.User = value * microsecond
		case "system_usec":
			s.CPU.Usage.Kernel = value * microsecond
		case "nr_periods":
			s.CPU.Throttling.Periods = value
		case "nr_throttled":
			s.CPU.Throttling.Throttled = value
		case "throttled_usec":
			s.CPU.Throttling.Time = value * microsecond
		}
	})
	if err == nil && !found {
		err = fmt.Errorf("cpu.stat has no usage_usec")
	}
	return err
}

// parseMemoryStat reads memory.stat of either version; keys that Docker does not show
// are left out.
func parseMemoryStat(text []byte, s *stats.Sample) error {
	return eachPair(text, func(key []byte, value uint64) { s.Memory.Stats.Put(key, value) })
}

// parseMemoryEvents takes how often the limit was hit.
func parseMemoryEvents(text []byte, s *stats.Sample) error {
	return eachPair(text, func(key []byte, value uint64) {
		if string(key) == "oom" {
			s.Memory.Failures = value
		}
	})
}

// parseIO reads io.stat: "8:0 rbytes=1 wbytes=2 rios=3 ...".
func parseIO(text []byte, s *stats.Sample) error {
	return eachLine(text, func(line []byte) error {
		device, rest := next(line)
		major, minor, err := parseDevice(device)
		if err != nil {
			return err
		}
		var read, written uint64
		counted := false
		for len(rest) > 0 {
			var word []byte
			word, rest = next(rest)
			key, digits, _ := bytes.Cut(word, []byte{'='})
			var to *uint64
			switch string(key) {
			case "rbytes":
				to = &read
			case "wbytes":
				to = &written
			default:
				continue
			}
			if *to, err = parseNumber(digits); err != nil {
				return fmt.Errorf("io.stat of device %d:%d: %w", major, minor, err)
			}
			counted = true
		}
		if counted {
			s.Block.ServiceBytes = append(s.Block.ServiceBytes,
				stats.BlockEntry{Major: major, Minor: minor, Op: "read", Value: read},
				stats.BlockEntry{Major: major, Minor: minor, Op: "write", Value: written})
		}
		return nil
	})
}
