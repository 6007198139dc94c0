package agentlink

import (
	"encoding/json"
	"slices"
	"time"

	"ecsagent/controlplane/wire"
)

// outbox holds the payloads of one instance that are not yet acknowledged, in the
// order in which they were delivered. It has no lock and no clock of its own.
type outbox struct {
	entries []*parcel
}

// parcel is one payload or announcement on its way.
type parcel struct {
	id     string
	kind   string // type of the message
	frame  []byte
	update wire.Update // of an update's messages
	tasks  []string    // ARNs, for telling whether the agent can know a task yet
	sentAt time.Time
	sent   bool
}

func (p *parcel) isUpdate() bool { return p.kind == typeStageUpdate || p.kind == typePerformUpdate }

func (o *outbox) add(p *parcel) { o.entries = append(o.entries, p) }

// due returns what must be sent now, in order, and marks it as sent: what was
// never sent, and what waits for its ack longer than resend.
func (o *outbox) due(now time.Time, resend time.Duration) []*parcel {
	var out []*parcel
	for _, p := range o.entries {
		if p.sent && now.Sub(p.sentAt) < resend {
			continue
		}
		p.sent, p.sentAt = true, now
		out = append(out, p)
	}
	return out
}

// next returns when due has something to send again; false means never.
func (o *outbox) next(resend time.Duration) (time.Time, bool) {
	var at time.Time
	for i, p := range o.entries {
		if !p.sent {
			return time.Time{}, true
		}
		if t := p.sentAt.Add(resend); i == 0 || t.Before(at) {
			at = t
		}
	}
	return at, len(o.entries) > 0
}

// rewind makes everything due again, for a new connection.
func (o *outbox) rewind() {
	for _, p := range o.entries {
		p.sent = false
	}
}

// remove takes out what was answered and returns it; nil if it is not there.
func (o *outbox) remove(id string) *parcel {
	i := slices.IndexFunc(o.entries, func(p *parcel) bool { return p.id == id })
	if i < 0 {
		return nil
	}
	p := o.entries[i]
	o.entries = slices.Delete(o.entries, i, i+1)
	return p
}

// carries reports whether a payload with the task waits for its ack.
func (o *outbox) carries(taskARN string) bool {
	return slices.ContainsFunc(o.entries, func(p *parcel) bool { return slices.Contains(p.tasks, taskARN) })
}

// taskARNs reads the ARNs of a payload's tasks, leaving out what has none.
func taskARNs(tasks []json.RawMessage) []string {
	var arns []string
	for _, raw := range tasks {
		var t struct {
			ARN string `json:"arn"`
		}
		if json.Unmarshal(raw, &t) == nil && t.ARN != "" {
			arns = append(arns, t.ARN)
		}
	}
	return arns
}
