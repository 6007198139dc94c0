package tcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// Limits of one message (docs/spec/01 section 4.4).
const (
	maxTasks = 10
	maxBytes = 1 << 20 // of JSON
	// framing is more than what a message has beside its tasks.
	framing = 4 << 10
)

// message is what is sent in one frame.
type message struct {
	kind string
	body json.RawMessage
}

// metricsRound makes the messages of one round of metrics. Nothing measurable yet
// makes none; an idle instance says so.
func (s *Session) metricsRound(r stats.Round) ([]message, error) {
	if !r.Idle && len(r.Tasks) == 0 {
		return nil, nil
	}
	meta := metricsMetadata{
		Cluster: s.opts.Cluster, ContainerInstance: s.opts.InstanceARN, MessageID: uuid.NewString(), Idle: r.Idle,
	}
	var tasks []taskMetric
	for i := range r.Tasks {
		parts, err := newTaskMetric(r.Tasks[i]).parts()
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, parts...)
	}
	parts, err := split10(tasks)
	if err != nil {
		return nil, err
	}
	var out []message
	for i, part := range parts {
		meta.Fin = i == len(parts)-1
		m, err := encode(typeMetrics, metricsMessage{Metadata: meta, Tasks: part, Timestamp: epoch(r.At)})
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// parts cuts a task that is too large for one message between the metrics of its Service
// Connect proxy; those of its containers and volumes are in the first part.
func (t taskMetric) parts() (all []taskMetric, err error) {
	rest := t.Connect
	t.Connect = nil
	text, err := json.Marshal(t)
	size := framing + len(text)
	for _, g := range rest {
		text, e := json.Marshal(g)
		if err = errors.Join(err, e); err != nil {
			return nil, fmt.Errorf("encode metrics of a Service Connect proxy: %w", err)
		}
		if len(t.Connect) > 0 && size+len(text)+1 > maxBytes {
			all = append(all, t)
			t.Containers, t.Volumes, t.Connect, size = []containerMetric{}, nil, nil, 2*framing
		}
		t.Connect = append(t.Connect, g)
		size += len(text) + 1
	}
	return append(all, t), err
}

// split10 cuts a list into parts of at most ten tasks and about a mebibyte; an empty
// list is one empty part.
func split10[T any](tasks []T) ([][]T, error) {
	var parts [][]T
	var part []T
	size := framing
	for _, t := range tasks {
		text, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("encode task: %w", err)
		}
		if len(part) == maxTasks || len(part) > 0 && size+len(text)+1 > maxBytes {
			parts, part, size = append(parts, part), nil, framing
		}
		part = append(part, t)
		size += len(text) + 1
	}
	return append(parts, part), nil
}

// healthRound makes the messages that tell of the containers whose health ECS asked
// for; none when there is none (docs/spec/01 section 4.5).
func (s *Session) healthRound(tasks []*task.Snapshot, now time.Time) ([]message, error) {
	var list []taskHealth
	for _, t := range tasks {
		h := taskHealth{ARN: t.ARN, Family: t.Family, Version: t.Version}
		for i := range t.Containers {
			c := &t.State.Containers[i]
			if !strings.EqualFold(t.Containers[i].HealthCheckType, "docker") || !c.Known.IsRunning() || t.State.Known == task.Stopped {
				continue
			}
			since := c.HealthSince
			if since.IsZero() || c.Health == task.HealthUnknown {
				since = now
			}
			h.Containers = append(h.Containers, containerHealth{Name: t.Containers[i].Name, Health: c.Health.String(), Since: epoch(since)})
		}
		if len(h.Containers) > 0 && t.ARN != "" && t.Family != "" {
			list = append(list, h)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	sortByARN(list)
	meta := healthMetadata{Cluster: s.opts.Cluster, ContainerInstance: s.opts.InstanceARN, MessageID: uuid.NewString()}
	parts, err := split10(list)
	if err != nil {
		return nil, err
	}
	var out []message
	for i, part := range parts {
		meta.Fin = i == len(parts)-1
		m, err := encode(typeHealth, healthMessage{Metadata: meta, Tasks: part, Timestamp: epoch(now)})
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// statusRound makes the message that tells of the instance's checks (docs/spec/01
// section 4.6).
func (s *Session) statusRound(list []Status, now time.Time) (message, error) {
	m := statusMessage{
		Metadata:  statusMetadata{Cluster: s.opts.Cluster, ContainerInstance: s.opts.InstanceARN, RequestID: uuid.NewString()},
		Timestamp: epoch(now), Statuses: make([]checkedStatus, len(list)),
	}
	for i, c := range list {
		m.Statuses[i] = checkedStatus{Type: c.Type, Status: c.Status, LastUpdated: epoch(c.Updated), LastChange: epoch(c.Changed)}
	}
	return encode(typeInstanceStatus, m)
}

func encode(kind string, body any) (message, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return message{}, fmt.Errorf("encode %s: %w", kind, err)
	}
	return message{kind, text}, nil
}
