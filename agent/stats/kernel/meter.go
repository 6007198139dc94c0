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
}

// meter implements stats.Meter for one cgroup.
type meter struct {
	source   *Source
	counters []counter
	legacy   bool
	net      File // /proc/PID/net/dev of a process in the container, or nil
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// Read implements stats.Meter. Whatever cannot be read spoils the whole sample.
func (m *meter) Read(context.Context) (*stats.Sample, error) {
	s := &stats.Sample{Read: time.Now().UTC()}
	if m.legacy {
		s.Memory.Stats = stats.NewDetails(legacyMemory)
		emptyBlock(&s.Block)
	} else {
		s.Memory.Stats = stats.NewDetails(unifiedMemory)
	}
	for i := range m.counters {
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
	m.try(dir, "memory.max", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.try(dir, "memory.events", parseMemoryEvents)
	m.try(dir, "io.stat", parseIO)
	m.try(dir, "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.try(dir, "pids.max", number(func(s *stats.Sample) *uint64 { return &s.Pids.Limit }))
	return nil
}

// openLegacy opens the files of the cgroups of version 1; each controller has its own.
func (m *meter) openLegacy(t tree, dir string) error {
	m.legacy = true
	at := func(controller string) string { return filepath.Join(t.controllers[controller], dir) }
	acct, memory := at("cpuacct"), at("memory")
	err := errors.Join(
		m.open(acct, "cpuacct.usage", number(func(s *stats.Sample) *uint64 { return &s.CPU.Usage.Total })),
		m.open(acct, "cpuacct.usage_percpu", parsePerCPU),
		m.open(acct, "cpuacct.stat", parseCPUModes),
		m.open(memory, "memory.usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Usage })),
		m.open(memory, "memory.stat", parseMemoryStat),
	)
	if err != nil {
		return err
	}
	m.try(memory, "memory.max_usage_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Max }))
	m.try(memory, "memory.failcnt", number(func(s *stats.Sample) *uint64 { return &s.Memory.Failures }))
	m.try(memory, "memory.limit_in_bytes", number(func(s *stats.Sample) *uint64 { return &s.Memory.Limit }))
	m.try(at("cpu"), "cpu.stat", parseThrottling)
	m.try(at("pids"), "pids.current", number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }))
	m.try(at("pids"), "pids.max", parsePidsMax)
	m.openBlock(at("blkio"))
	return nil
}

func (m *meter) open(dir, name string, parse func([]byte, *stats.Sample) error) error {
	f, err := m.source.opt.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	m.counters = append(m.counters, counter{f, parse})
	return nil
}

// try opens a file that a kernel need not have.
func (m *meter) try(dir, name string, parse func([]byte, *stats.Sample) error) {
	_ = m.open(dir, name, parse) // its numbers stay zero
}

// openBlock opens the lists of block I/O. Kernels with the CFQ scheduler have all;
// others count at the throttling layer alone.
func (m *meter) openBlock(dir string) {
	for _, l := range []struct {
		name string
		list func(*stats.Block) *[]stats.BlockEntry
	}{
		{"io_service_bytes_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.ServiceBytes }},
		{"io_serviced_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Serviced }},
		{"io_queued_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Queue }},
		{"io_service_time_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.ServiceTime }},
		{"io_wait_time_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.WaitTime }},
		{"io_merged_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Merged }},
		{"time_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Time }},
		{"sectors_recursive", func(b *stats.Block) *[]stats.BlockEntry { return &b.Sectors }},
		{"throttle.io_service_bytes", func(b *stats.Block) *[]stats.BlockEntry { return &b.ServiceBytes }},
		{"throttle.io_serviced", func(b *stats.Block) *[]stats.BlockEntry { return &b.Serviced }},
	} {
		m.try(dir, "blkio."+l.name, entries(l.list))
	}
}
