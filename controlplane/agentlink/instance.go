package agentlink

import (
	"sync"
	"time"

	"ecsagent/controlplane/wire"
)

// Plane is one of the two websockets of an agent.
type Plane uint8

// Planes.
const (
	ACS Plane = iota // the work channel
	TCS              // the telemetry channel
	planes
)

// String returns the plane's usual abbreviation.
func (p Plane) String() string {
	if p == TCS {
		return "tcs"
	}
	return "acs"
}

// instance is what the hub keeps of one container instance between connections.
type instance struct {
	arn  string
	wake chan struct{} // tells the ACS session of new work; holds one token

	mu      sync.Mutex
	out     outbox
	creds   book
	current [planes]*session
}

func newInstance(arn string) *instance {
	return &instance{arn: arn, wake: make(chan struct{}, 1)}
}

func (i *instance) deliver(p *parcel) {
	i.mu.Lock()
	i.out.add(p)
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default: // a token is there already
	}
}

func (i *instance) pending() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	ids := make([]string, 0, len(i.out.entries))
	for _, p := range i.out.entries {
		ids = append(ids, p.id)
	}
	return ids
}

// take makes s the session of its plane and returns the one that it replaces.
func (i *instance) take(s *session) *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	prev := i.current[s.plane]
	i.current[s.plane] = s
	return prev
}

func (i *instance) isCurrent(s *session) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current[s.plane] == s
}

// leave takes s out, unless another session has taken its place.
func (i *instance) leave(s *session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current[s.plane] == s {
		i.current[s.plane] = nil
	}
}

func (i *instance) session(p Plane) *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current[p]
}

func (i *instance) sessions() []*session {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []*session
	for _, s := range i.current {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

// restart prepares for a new connection: everything that is not acknowledged is
// due again, and all credentials if the agent's memory is empty.
func (i *instance) restart(sendCredentials bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.out.rewind()
	i.creds.rewind()
	if sendCredentials {
		i.creds.reset()
	}
}

func (i *instance) duePayloads(now time.Time, resend time.Duration) []*parcel {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.out.due(now, resend)
}

// dueCredentials leaves out tasks whose payload the agent has not acknowledged: it
// cannot know them yet, and the payload carries their credentials.
func (i *instance) dueCredentials(now time.Time, resend time.Duration, current []wire.CredentialsMessage, newID func() string) []credentialsMessage {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.creds.due(now, resend, current, i.out.carries, newID)
}

// acked removes a payload or an announcement and returns it; nil if there is none of
// that id.
func (i *instance) acked(messageID string) *parcel {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.out.remove(messageID)
}

func (i *instance) credentialsAcked(id, expiration string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.creds.ack(id, expiration)
}

// next returns when payloads and when credentials are due again; zero means never.
func (i *instance) next(resend time.Duration) (payloads, credentials time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t, ok := i.out.next(resend); ok {
		payloads = t
		if payloads.IsZero() {
			payloads = time.Unix(0, 1) // at once
		}
	}
	if t, ok := i.creds.next(resend); ok {
		credentials = t
	}
	return payloads, credentials
}
