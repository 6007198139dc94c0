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
	rare  bool // it is read for whole samples only
}

// meter implements stats.Meter for one cgroup.
type meter struct {
	source   *Source
	counters []counter
	legacy   bool
	net      File         // /proc/PID/net/dev of a process in the container, or nil
	last     stats.Sample // its rare numbers are those of the last whole sample; no time: none yet
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// Read implements stats.Meter. Whatever cannot be read spoils the whole sample.
func (m *meter) Read(_ context.Context, whole bool) (*stats.Sample, error) {
	whole = whole || m.last.Read.IsZero()
	s := m.begin(whole)
	for i := range m.counters {
		if m.counters[i].rare && !whole {
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
		must(dir, "cpu.stat", parseUnifiedCPU),
		must(dir, "memory.current", number(func(s *stats.Sample) *uint64 { return &s.Memory.Usage })),
		must(dir, "memory.stat", parseMemoryStat),
	)
	if err != nil {
		return err
	}
	m.try(dir, "io.stat", parseIO)
	m.rare(dir, "memory.max", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.rare(dir, "memory.events", parseMemoryEvents)
	m.rare(dir, "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.rare(dir, "pids.max", number(func(s *stats.Sample) *uint64 { return &s.Pids.Limit }))
	return nil
}

// openLegacy opens the files of the cgroups of version 1; each controller has its own.
func (m *meter) openLegacy(t tree, dir string) error {
	m.legacy = true
	at := func(controller string) string { return filepath.Join(t.controllers[controller], dir) }
	acct, memory := at("cpuacct"), at("memory")
	err := errors.Join(
		m.open(acct, "cpuacct.usage", number(func(s *stats.Sample) *uint64 { return &s.CPU.Usage.Total })),
		m.open(memory, "memory.usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Usage })),
		m.open(memory, "memory.stat", parseMemoryStat),
		m.openRare(acct, "cpuacct.usage_percpu", parsePerCPU),
		m.openRare(acct, "cpuacct.stat", parseCPUModes),
	)
	if err != nil {
		return err
	}
	m.rare(memory, "memory.max_usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Max }))
	m.rare(memory, "memory.failcnt", number(func(s *stats.Sample) *uint64 { return &s.Memory.Failures }))
	m.rare(memory, "memory.limit_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.rare(at("cpu"), "cpu.stat", parseThrottling)
	m.rare(at("pids"), "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.rare(at("pids"), "pids.max", parsePidsMax)
	m.openBlock(at("blkio"))
	return nil
}

func (m *meter) open(dir, name string, parse func([]byte, *stats.Sample) error) error {
	f, err := m.source.opt.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	m.counters = append(m.counters, counter{file: f, parse: parse})
	return nil
}

// openRare opens a file that is read for whole samples only.
func (m *meter) openRare(dir, name string, parse func([]byte, *stats.Sample) error) error {
	err := m.open(dir, name, parse)
	if err == nil {
		m.counters[len(m.counters)-1].rare = true
	}
	return err
}

// try opens a file that a kernel need not have.
func (m *meter) try(dir, name string, parse func([]byte, *stats.Sample) error) {
	_ = m.open(dir, name, parse) // its numbers stay zero
}

// rare is try for what is read for whole samples only.
func (m *meter) rare(dir, name string, parse func([]byte, *stats.Sample) error) {
	_ = m.openRare(dir, name, parse) // as above
}

// openBlock opens the lists of block I/O. Kernels with the CFQ scheduler have all;
// others count at the throttling layer alone.
func (m *meter) openBlock(dir string) {
	bytes := func(b *stats.Block) *[]stats.BlockEntry { return &b.ServiceBytes }
	m.try(dir, "blkio.io_service_bytes_recursive", entries(bytes))
	m.try(dir, "blkio.throttle.io_service_bytes", entries(bytes))
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
		m.rare(dir, "blkio."+l.name, entries(l.list))
	}
}
