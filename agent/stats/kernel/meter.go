package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"ecsagent/agent/stats"
)

// counter is an open file and what its text means for a sample.
type counter struct {
	file  File
	parse func(text []byte, s *stats.Sample) error
	read  when
}

// when a file is read, besides for whole samples.
type when int

const (
	always when = iota
	active      // when the container used processors or memory since the last sample
	never
)

// meter implements stats.Meter for one cgroup.
type meter struct {
	source   *Source
	counters []counter // those that are always read come first
	legacy   bool
	net      File         // /proc/PID/net/dev of a process in the container, or nil
	last     stats.Sample // each number is from when it was read last; no time: none yet
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// Read implements stats.Meter. Whatever cannot be read spoils the whole sample.
func (m *meter) Read(_ context.Context, whole bool) (*stats.Sample, error) {
	whole = whole || m.last.Read.IsZero()
	s := m.begin(whole)
	resting := false
	for i := range m.counters {
		switch c := &m.counters[i]; {
		case whole, c.read == always:
		case c.read == never:
			continue
		case m.rests(s):
			resting = true
			continue
		}
		text, err := m.source.read(m.counters[i].file)
		if err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		if err := m.counters[i].parse(text, s); err != nil {
			return nil, err
		}
	}
	if limit := m.source.opt.Memory; limit > 0 && s.Memory.Limit > limit {
		s.Memory.Limit = limit
	}
	if m.legacy && len(s.CPU.Usage.PerCPU) == 0 {
		return nil, errors.New("read counters: no CPU time per processor")
	}
	if m.legacy {
		s.Memory.Max = max(s.Memory.Max, s.Memory.Usage) // the most so far may be of earlier
	}
	if resting {
		s.Memory.Stats, s.Block.ServiceBytes = m.last.Memory.Stats, m.last.Block.ServiceBytes
	}
	m.last = *s
	if m.net == nil {
		return s, nil
	}
	text, err := m.source.read(m.net)
	if err != nil {
		return nil, fmt.Errorf("read network counters: %w", err)
	}
	s.Networks, err = parseNetwork(text, isEthernet)
	return s, err
}

// rests reports whether nothing in the container has run since the last sample, nor taken
// or given back memory: what it holds and what it has moved is then as it was, but for
// what the kernel does on its own, which the next whole sample has.
func (m *meter) rests(s *stats.Sample) bool {
	return s.CPU.Usage.Total == m.last.CPU.Usage.Total && s.Memory.Usage == m.last.Memory.Usage
}

// begin makes the sample that is to be filled in. Lists that it shares with samples
// before it are not written to.
func (m *meter) begin(whole bool) *stats.Sample {
	s := new(stats.Sample)
	if !whole {
		*s = m.last
		s.Block.ServiceBytes = nil
	}
	s.Read = time.Now().UTC()
	if !m.legacy {
		s.Memory.Stats = stats.NewDetails(unifiedMemory)
		return s
	}
	s.Memory.Stats = stats.NewDetails(legacyMemory)
	if whole {
		emptyBlock(&s.Block)
	} else {
		s.Block.ServiceBytes = []stats.BlockEntry{}
	}
	return s
}

// Close implements stats.Meter.
func (m *meter) Close() {
	for _, c := range m.counters {
		c.file.Close()
	}
	m.counters = nil
	if m.net != nil {
		m.net.Close()
		m.net = nil
	}
}

// openUnified opens the files of a cgroup of version 2.
func (m *meter) openUnified(dir string) error {
	must := m.open
	err := errors.Join(
		must(always, dir, "cpu.stat", parseUnifiedCPU),
		must(always, dir, "memory.current", number(func(s *stats.Sample) *uint64 { return &s.Memory.Usage })),
		must(active, dir, "memory.stat", parseMemoryStat),
	)
	if err != nil {
		return err
	}
	m.try(active, dir, "io.stat", parseIO)
	m.try(never, dir, "memory.max", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.try(never, dir, "memory.events", parseMemoryEvents)
	m.try(never, dir, "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.try(never, dir, "pids.max", number(func(s *stats.Sample) *uint64 { return &s.Pids.Limit }))
	return nil
}

// openLegacy opens the files of the cgroups of version 1; each controller has its own.
func (m *meter) openLegacy(t tree, dir string) error {
	m.legacy = true
	at := func(controller string) string { return filepath.Join(t.controllers[controller], dir) }
	acct, memory := at("cpuacct"), at("memory")
	err := errors.Join(
		m.open(always, acct, "cpuacct.usage", number(func(s *stats.Sample) *uint64 { return &s.CPU.Usage.Total })),
		m.open(always, memory, "memory.usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Usage })),
		m.open(active, memory, "memory.stat", parseMemoryStat),
		m.open(never, acct, "cpuacct.usage_percpu", parsePerCPU),
		m.open(never, acct, "cpuacct.stat", parseCPUModes),
	)
	if err != nil {
		return err
	}
	m.try(never, memory, "memory.max_usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Max }))
	m.try(never, memory, "memory.failcnt", number(func(s *stats.Sample) *uint64 { return &s.Memory.Failures }))
	m.try(never, memory, "memory.limit_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.try(never, at("cpu"), "cpu.stat", parseThrottling)
	m.try(never, at("pids"), "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.try(never, at("pids"), "pids.max", parsePidsMax)
	m.openBlock(at("blkio"))
	return nil
}

func (m *meter) open(read when, dir, name string, parse func([]byte, *stats.Sample) error) error {
	f, err := m.source.opt.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	m.counters = append(m.counters, counter{file: f, parse: parse, read: read})
	return nil
}

// try opens a file that a kernel need not have.
func (m *meter) try(read when, dir, name string, parse func([]byte, *stats.Sample) error) {
	_ = m.open(read, dir, name, parse) // its numbers stay zero
}

// openBlock opens the lists of block I/O. Kernels with the CFQ scheduler have all;
// others count at the throttling layer alone.
func (m *meter) openBlock(dir string) {
	bytes := func(b *stats.Block) *[]stats.BlockEntry { return &b.ServiceBytes }
	m.try(active, dir, "blkio.io_service_bytes_recursive", entries(bytes))
	m.try(active, dir, "blkio.throttle.io_service_bytes", entries(bytes))
	for _, l := range []struct {
		name string
		list func(*stats.Block) *[]stats.BlockEntry
	}{
		{"io_serviced_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Serviced }},
		{"io_queued_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Queue }},
		{"io_service_time_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.ServiceTime }},
		{"io_wait_time_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.WaitTime }},
		{"io_merged_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Merged }},
		{"time_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Time }},
		{"sectors_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Sectors }},
		{"throttle.io_serviced", func(b *stats.Block) *[]stats.BlockEntry { return &b.Serviced }},
	} {
		m.try(never, dir, "blkio."+l.name, entries(l.list))
	}
}
