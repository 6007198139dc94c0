package remote

import (
	"context"
	"encoding/json"
	"fmt"
	goruntime "runtime"
	"time"

	"ecsagent/agent/stats"
)

// Ask returns Docker's stats object of a container, in JSON. It keeps its own deadline.
type Ask func(ctx context.Context, id string) ([]byte, error)

// Options make a Source. All of them are required.
type Options struct {
	Ask Ask
	// Adapter is the name of the adapter that a task's interface is inside the task, whose
	// network its pause container holds.
	Adapter func(mac, pause string) (string, error)
	// Traffic reads the counters of an adapter.
	Traffic func(adapter string) (stats.Network, error)
}

// Source implements stats.Source.
type Source struct{ opts Options }

// New makes a Source.
func New(opts Options) *Source { return &Source{opts} }

// Host implements stats.Source. Windows has no time of all processors to compare with.
func (s *Source) Host(context.Context) (stats.Host, error) {
	return stats.Host{CPUs: uint32(goruntime.NumCPU())}, nil
}

// Open implements stats.Source.
func (s *Source) Open(_ context.Context, t stats.Target) (stats.Meter, error) {
	return &meter{s.opts.Ask, t.ID}, nil
}

// TaskNetwork implements stats.Source: Docker does not count what it did not attach.
func (s *Source) TaskNetwork(_ context.Context, t stats.Target) (map[string]stats.Network, error) {
	networks := make(map[string]stats.Network, len(t.MACs))
	for _, mac := range t.MACs {
		name, err := s.opts.Adapter(mac, t.ID)
		if err != nil {
			return nil, err
		}
		if networks[name], err = s.opts.Traffic(name); err != nil {
			return nil, err
		}
	}
	return networks, nil
}

type meter struct {
	ask Ask
	id  string
}

// Read implements stats.Meter.
func (m *meter) Read(ctx context.Context, _ bool) (*stats.Sample, error) {
	text, err := m.ask(ctx, m.id)
	if err != nil {
		return nil, fmt.Errorf("ask Docker: %w", err)
	}
	var s stats.Sample
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("decode Docker's stats: %w", err)
	}
	s.PreRead, s.PreCPU = time.Time{}, stats.CPU{} // what went before is what was read before
	return &s, nil
}

// Close implements stats.Meter.
func (m *meter) Close() {}
