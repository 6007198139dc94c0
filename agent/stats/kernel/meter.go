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

// when a file is read.
type when int

const (
	always when = iota
	active      // when something has happened in the container since the last sample
	seldom      // for whole samples, when something has happened since the last of these
)

// restLimit is how old numbers of a container in which nothing happens can be: what the
// kernel and who changes limits do to it is seen after that.
const restLimit = time.Minute

// meter implements stats.Meter for one cgroup.
type meter struct {
	source   *Source
	counters []counter
	legacy   bool
	net      File         // /proc/PID/net/dev of a process in the container, or nil
	last     stats.Sample // each number is from when it was read last
	wholeAt  time.Time    // when all were; zero: never
	moved    bool         // something has happened in the container since then
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// Read implements stats.Meter. Whatever cannot be read spoils the whole sample.
func (m *meter) Read(_ context.Context, whole bool) (*stats.Sample, error) {
	s := new(stats.Sample)
	*s = m.last
	s.Read = time.Now().UTC()
	if err := m.read(s, always); err != nil {
		return nil, err
	}
	rests := m.rests(s)
	m.moved = m.moved || !rests
	whole = m.wholeAt.IsZero() || whole && m.moved || s.Read.Sub(m.wholeAt) >= restLimit
	if whole || !rests {
		m.clear(s, whole)
		if err := m.read(s, active); err != nil {
			return nil, err
		}
	}
	if whole {
		if err := m.read(s, seldom); err != nil {
			return nil, err
		}
		m.wholeAt, m.moved = s.Read, false
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

// read reads the files that are due at some time.
func (m *meter) read(s *stats.Sample, due when) error {
	for i := range m.counters {
		if m.counters[i].read != due {
			continue
		}
		text, err := m.source.read(m.counters[i].file)
		if err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
		if err := m.counters[i].parse(text, s); err != nil {
			return err
		}
	}
	return nil
}

// rests reports whether nothing in the container has run since the last sample, nor taken
// or given back memory: what it holds and what it has moved is then as it was.
func (m *meter) rests(s *stats.Sample) bool {
	return s.CPU.Usage.Total == m.last.CPU.Usage.Total && s.Memory.Usage == m.last.Memory.Usage
}

// clear makes room for what is read anew. Lists that the sample shares with those before
// it are not written to.
func (m *meter) clear(s *stats.Sample, whole bool) {
	names, none := unifiedMemory, []stats.BlockEntry(nil)
	if m.legacy {
		names, none = legacyMemory, []stats.BlockEntry{} // as Docker shows them
	}
	if whole {
		s.Memory, s.Pids = stats.Memory{Usage: s.Memory.Usage}, stats.Pids{}
		s.Block = stats.Block{
			Serviced: none, Queue: none, ServiceTime: none, WaitTime: none, Merged: none, Time: none, Sectors: none,
		}
	}
	s.Memory.Stats, s.Block.ServiceBytes = stats.NewDetails(names), none
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
	m.try(seldom, dir, "memory.max", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.try(seldom, dir, "memory.events", parseMemoryEvents)
	m.try(seldom, dir, "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.try(seldom, dir, "pids.max", number(func(s *stats.Sample) *uint64 { return &s.Pids.Limit }))
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
		m.open(seldom, acct, "cpuacct.usage_percpu", parsePerCPU),
		m.open(seldom, acct, "cpuacct.stat", parseCPUModes),
	)
	if err != nil {
		return err
	}
	m.try(seldom, memory, "memory.max_usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Max }))
	m.try(seldom, memory, "memory.failcnt", number(func(s *stats.Sample) *uint64 { return &s.Memory.Failures }))
	m.try(seldom, memory, "memory.limit_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.try(seldom, at("cpu"), "cpu.stat", parseThrottling)
	m.try(seldom, at("pids"), "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.try(seldom, at("pids"), "pids.max", parsePidsMax)
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
		m.try(seldom, dir, "blkio."+l.name, entries(l.list))
	}
}
