package agentlink

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/controlplane/wire"
)

// internalPrefix begins the ARNs of tasks that an agent makes for itself; they are
// never stopped from here (docs/spec/01 section 5.4).
const internalPrefix = "arn:::::/"

// acs is the conversation on the work channel.
type acs struct {
	*session
	manifestID string   // of the manifest sent on this connection; empty once verified
	beats      []string // ids of heartbeats sent and not answered
	lookAt     time.Time
	held       []heldAck // acks whose effect a fault delays
}

type heldAck struct {
	at time.Time
	e  envelope
}

func (a *acs) begin() error {
	a.inst.restart(a.hello.sendCredentials)
	a.hub.backend.Connected(a.inst.arn, true, a.hello.agentVersion, a.hello.agentHash, a.hello.dockerVersion)
	if err := a.beat(); err != nil {
		return err
	}
	return a.sendManifest()
}

func (a *acs) end() {
	a.hub.backend.Connected(a.inst.arn, false, a.hello.agentVersion, a.hello.agentHash, a.hello.dockerVersion)
}

// beat sends a heartbeat, unless too many are unanswered: then the session ends.
// Agents of protocol version 1 are not supervised.
func (a *acs) beat() error {
	if len(a.beats) >= a.hub.cadence.MissedHeartbeats && a.hello.protocolVersion != "1" && !a.link.silent.Load() {
		a.log.Warn("heartbeats are not answered", zap.Int("missed", len(a.beats)))
		return &closing{code: websocket.CloseGoingAway, text: "heartbeats are not answered", wait: true}
	}
	if len(a.beats) >= a.hub.cadence.MissedHeartbeats {
		a.beats = a.beats[1:]
	}
	id := uuid.NewString()
	a.beats = append(a.beats, id)
	return a.send(typeHeartbeat, heartbeat{MessageID: id, Healthy: true})
}

func (a *acs) sendManifest() error {
	if f, ok := a.hub.backend.(FullSyncer); ok && !f.FullSync(a.inst.arn) {
		return nil
	}
	tasks := a.hub.backend.Manifest(a.inst.arn)
	if tasks == nil {
		tasks = []wire.TaskIdentifier{}
	}
	a.manifestID = uuid.NewString()
	return a.send(typeManifest, manifestMessage{
		MessageID: a.manifestID, ClusterARN: a.clusterARN(), ContainerInstanceARN: a.inst.arn,
		Timeline: a.hub.sequence(a.inst.arn), GeneratedAt: time.Now().UnixMilli(), Tasks: tasks,
	})
}

func (a *acs) clusterARN() string { return clusterARN(a.inst.arn, a.hello.cluster) }

// work sends payloads and credentials that are due.
func (a *acs) work(now time.Time) (time.Time, error) {
	for len(a.held) > 0 && !now.Before(a.held[0].at) {
		e := a.held[0].e
		a.held = a.held[1:]
		a.answered(e)
	}
	for _, p := range a.inst.duePayloads(now, a.hub.cadence.Resend) {
		for range a.hub.faults.copies() {
			if err := a.sendFrame(p.kind, p.frame); err != nil {
				return time.Time{}, err
			}
		}
	}
	_, again := a.inst.next(a.hub.cadence.Resend)
	if !now.Before(a.lookAt) || !again.IsZero() && !now.Before(again) {
		a.lookAt = now.Add(a.hub.cadence.Credentials)
		if err := a.sendCredentials(now); err != nil {
			return time.Time{}, err
		}
	}
	next := a.lookAt
	payloads, credentials := a.inst.next(a.hub.cadence.Resend)
	for _, t := range []time.Time{payloads, credentials} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if len(a.held) > 0 && a.held[0].at.Before(next) {
		next = a.held[0].at
	}
	return next, nil
}

func (a *acs) sendCredentials(now time.Time) error {
	current := a.hub.backend.Credentials(a.inst.arn)
	for _, m := range a.inst.dueCredentials(now, a.hub.cadence.Resend, current, uuid.NewString) {
		if err := a.send(typeCredentials, m); err != nil {
			return err
		}
	}
	return nil
}

// receive handles one message of the agent. What cannot be read, and what is not
// known, is passed over.
func (a *acs) receive(frame []byte) error {
	e, err := decode(frame)
	if err != nil {
		a.log.Warn("frame ignored", zap.Error(err))
		return nil
	}
	switch e.Type {
	case typeHeartbeatAck, typeAck, typeNack, typeCredentialsAck:
		if a.hub.faults.dropsAcks() {
			return nil
		}
		if d := a.hub.faults.ackDelay(); d > 0 {
			a.held = append(a.held, heldAck{at: time.Now().Add(d), e: e})
			return nil
		}
		a.answered(e)
	case typeVerify:
		return a.verify(e.Message)
	default:
		a.log.Debug("message of unknown type ignored", zap.String("type", e.Type))
	}
	return nil
}

// answered takes note of an ack or nack.
func (a *acs) answered(e envelope) {
	var ack acknowledgement
	if err := json.Unmarshal(e.Message, &ack); err != nil {
		a.log.Warn("malformed acknowledgement ignored", zap.String("type", e.Type), zap.Error(err))
		return
	}
	switch e.Type {
	case typeHeartbeatAck:
		// An ack answers its heartbeat and those before it; one without an id answers all.
		if i := slices.Index(a.beats, ack.MessageID); i >= 0 {
			a.beats = a.beats[i+1:]
		} else if ack.MessageID == "" {
			a.beats = nil
		}
	case typeCredentialsAck:
		a.inst.credentialsAcked(ack.CredentialsID, ack.Expiration)
	case typeAck:
		switch p := a.inst.acked(ack.MessageID); {
		case p == nil:
		case p.kind == typePayload:
			a.hub.backend.PayloadAcked(a.inst.arn, ack.MessageID)
		case p.isUpdate():
			a.hub.updateAnswered(a.inst.arn, p, true, "")
		}
	case typeNack:
		a.log.Warn("message refused by the agent", zap.String("message", ack.MessageID), zap.String("reason", ack.Reason))
		p := a.inst.acked(ack.MessageID)
		if p != nil && p.isUpdate() {
			a.hub.updateAnswered(a.inst.arn, p, false, ack.Reason)
		}
		if p == nil || p.kind != typePayload {
			return
		}
		if o, ok := a.hub.backend.(NackObserver); ok {
			o.PayloadNacked(a.inst.arn, ack.MessageID, ack.Reason)
		}
	}
}

// verify answers which of the agent's stop candidates should stop; only those it
// offered, and each manifest is answered once (docs/spec/01 section 2.8.6).
func (a *acs) verify(message json.RawMessage) error {
	var m verifyMessage
	if err := json.Unmarshal(message, &m); err != nil {
		a.log.Warn("malformed stop verification ignored", zap.Error(err))
		return nil
	}
	if m.MessageID == "" || m.MessageID != a.manifestID {
		a.log.Warn("stop verification for another manifest ignored", zap.String("message", m.MessageID))
		return nil
	}
	a.manifestID = ""
	candidates := slices.DeleteFunc(m.StopCandidates, func(t wire.TaskIdentifier) bool {
		return t.TaskARN == "" || strings.HasPrefix(t.TaskARN, internalPrefix)
	})
	stop := []wire.TaskIdentifier{}
	if len(candidates) > 0 {
		for _, t := range a.hub.backend.ShouldStop(a.inst.arn, slices.Clone(candidates)) {
			if slices.ContainsFunc(candidates, func(c wire.TaskIdentifier) bool { return c.TaskARN == t.TaskARN }) {
				stop = append(stop, t)
			}
		}
	}
	a.log.Info("stop candidates verified", zap.Int("candidates", len(candidates)), zap.Int("stop", len(stop)))
	return a.send(typeVerifyAck, verifyAck{MessageID: m.MessageID, GeneratedAt: time.Now().UnixMilli(), StopTasks: stop})
}
