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

// Source implements stats.Source.
type Source struct{ ask Ask }

// New makes a Source.
func New(ask Ask) *Source { return &Source{ask} }

// Host implements stats.Source. Windows has no time of all processors to compare with.
func (s *Source) Host(context.Context) (stats.Host, error) {
	return stats.Host{CPUs: uint32(goruntime.NumCPU())}, nil
}

// Open implements stats.Source.
func (s *Source) Open(_ context.Context, t stats.Target) (stats.Meter, error) {
	return &meter{s.ask, t.ID}, nil
}

// TaskNetwork implements stats.Source: there are no interfaces that Docker does not
// count.
func (s *Source) TaskNetwork(context.Context, stats.Target) (map[string]stats.Network, error) {
	return nil, nil
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
