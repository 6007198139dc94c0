package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// stale is how long a task is shown after its last message: two rounds and a bit.
const stale = 50 * time.Second

// Board keeps the latest metrics of every instance.
type Board struct {
	mu        sync.Mutex
	instances map[string]*instance
}

type instance struct {
	idle  bool
	at    time.Time // of the latest message
	tasks map[string]TaskUsage
}

// NewBoard returns an empty Board.
func NewBoard() *Board { return &Board{instances: make(map[string]*instance)} }

// Instance is what the latest messages of an instance say.
type Instance struct {
	ARN   string      `json:"containerInstanceArn"`
	Idle  bool        `json:"idle"`
	At    time.Time   `json:"timestamp"`
	Tasks []TaskUsage `json:"tasks"`
}

// TaskUsage is the latest usage of a task, and when it was measured.
type TaskUsage struct {
	Task
	At time.Time `json:"timestamp"`
}

// Take keeps a message that Check found good.
func (b *Board) Take(instanceARN string, message []byte) error {
	m, err := read[Metrics](message)
	if err != nil {
		return err
	}
	if m.Metadata == nil || m.Metadata.Idle == nil || m.Timestamp == nil {
		return refuse("message", "was not checked")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.instances[instanceARN]
	if in == nil {
		in = &instance{tasks: make(map[string]TaskUsage)}
		b.instances[instanceARN] = in
	}
	in.idle, in.at = *m.Metadata.Idle, timeOf(*m.Timestamp)
	if in.idle {
		clear(in.tasks)
	}
	for _, t := range m.Tasks {
		in.tasks[t.ARN] = TaskUsage{t, in.at}
	}
	for arn, t := range in.tasks {
		if in.at.Sub(t.At) > stale {
			delete(in.tasks, arn)
		}
	}
	return nil
}

// Forget drops what is known of an instance.
func (b *Board) Forget(instanceARN string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.instances, instanceARN)
}

// Instances shows everything, in the order of the ARNs. Tasks that were not told of
// lately are left out.
func (b *Board) Instances(now time.Time) []Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Instance{}
	for arn, in := range b.instances {
		show := Instance{ARN: arn, Idle: in.idle, At: in.at, Tasks: []TaskUsage{}}
		for _, t := range in.tasks {
			if now.Sub(t.At) <= stale {
				show.Tasks = append(show.Tasks, t)
			}
		}
		slices.SortFunc(show.Tasks, func(a, b TaskUsage) int { return strings.Compare(a.ARN, b.ARN) })
		out = append(out, show)
	}
	slices.SortFunc(out, func(a, b Instance) int { return strings.Compare(a.ARN, b.ARN) })
	return out
}
