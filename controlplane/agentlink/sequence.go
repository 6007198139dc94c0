package agentlink

import "sync"

// Sequences gives out the numbers of payloads and manifests: one increasing
// counter per instance, starting at 1 or later (docs/spec/01 sections 3.6 and
// 5.4). A number is never given twice to one instance, across restarts too if the
// implementation persists.
type Sequences interface {
	// Next returns the next number. The number is usable even when an error says
	// that it could not be made durable.
	Next(instanceARN string) (int64, error)
}

// MemorySequences counts in memory.
type MemorySequences struct {
	base int64

	mu   sync.Mutex
	last map[string]int64
}

// NewMemorySequences returns counters whose first number is base+1. A base that
// grows with every start of the process (the time, say) keeps the numbers rising
// for agents that outlive it.
func NewMemorySequences(base int64) *MemorySequences {
	return &MemorySequences{base: base, last: make(map[string]int64)}
}

// Next implements Sequences.
func (m *MemorySequences) Next(instanceARN string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.last[instanceARN]
	if !ok {
		last = m.base
	}
	m.last[instanceARN] = last + 1
	return last + 1, nil
}
