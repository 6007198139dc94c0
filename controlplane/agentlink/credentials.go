package agentlink

import (
	"time"

	"ecsagent/controlplane/wire"
)

// maxCredentialsShift bounds how far the pause between two sends of one
// unacknowledged set grows: to 2^5 times the first.
const maxCredentialsShift = 5

// book knows which role credentials an agent has. A set is known by its id, and
// its key material by its expiration: the service renews keys under the same id
// (docs/spec/01 section 5.4). It has no lock and no clock of its own.
type book struct {
	sets map[string]*credentialSet // by credentialsId
}

type credentialSet struct {
	messageID  string
	expiration string
	acked      bool
	sends      int
	sentAt     time.Time
}

// due returns the sets that must be sent now and marks them as sent. current are
// all sets that the agent should hold; sets of tasks for which hold is true wait.
func (b *book) due(now time.Time, resend time.Duration, current []wire.CredentialsMessage, hold func(taskARN string) bool, newID func() string) []credentialsMessage {
	b.forgetOthers(current)
	var out []credentialsMessage
	for _, c := range current {
		if c.RoleCredentials.CredentialsID == "" || hold(c.TaskARN) {
			continue
		}
		set := b.sets[c.RoleCredentials.CredentialsID]
		if set == nil || set.expiration != c.RoleCredentials.Expiration {
			set = &credentialSet{messageID: newID(), expiration: c.RoleCredentials.Expiration}
			b.put(c.RoleCredentials.CredentialsID, set)
		}
		if set.acked || set.sends > 0 && now.Before(set.again(resend)) {
			continue
		}
		set.sends++
		set.sentAt = now
		out = append(out, credentialsMessage{MessageID: set.messageID, CredentialsMessage: c})
	}
	return out
}

// again is when an unacknowledged set is sent once more; the pauses double.
func (s *credentialSet) again(resend time.Duration) time.Time {
	return s.sentAt.Add(resend << min(s.sends-1, maxCredentialsShift))
}

// next returns when an unacknowledged set is due again; false means never.
func (b *book) next(resend time.Duration) (time.Time, bool) {
	var at time.Time
	found := false
	for _, set := range b.sets {
		if set.acked || set.sends == 0 {
			continue
		}
		if t := set.again(resend); !found || t.Before(at) {
			at, found = t, true
		}
	}
	return at, found
}

// ack notes that the agent holds a set. Sets that came with a payload are
// acknowledged without having been sent from here.
func (b *book) ack(credentialsID, expiration string) {
	set := b.sets[credentialsID]
	switch {
	case set == nil:
		b.put(credentialsID, &credentialSet{expiration: expiration, acked: true})
	case set.expiration == expiration:
		set.acked = true
	}
}

// reset forgets everything: the agent came up with an empty memory.
func (b *book) reset() { b.sets = nil }

// rewind makes unacknowledged sets due again, for a new connection.
func (b *book) rewind() {
	for _, set := range b.sets {
		set.sends = 0
	}
}

func (b *book) put(id string, set *credentialSet) {
	if b.sets == nil {
		b.sets = make(map[string]*credentialSet)
	}
	b.sets[id] = set
}

func (b *book) forgetOthers(current []wire.CredentialsMessage) {
	keep := make(map[string]bool, len(current))
	for _, c := range current {
		keep[c.RoleCredentials.CredentialsID] = true
	}
	for id := range b.sets {
		if !keep[id] {
			delete(b.sets, id)
		}
	}
}
