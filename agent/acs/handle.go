package acs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/failpoint"
	"ecsagent/agent/update"
)

// handle acts on one message (docs/spec/01 sections 2.7 and 2.8). An error ends the
// connection.
func (s *Session) handle(ctx context.Context, l *link, m wire.Message) error {
	if failpoint.Enabled {
		kind := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "wire."))
		if err := failpoint.Before("acs", kind); err != nil {
			return err
		}
		defer func() { _ = failpoint.After("acs", kind) }()
	}
	switch m := m.(type) {
	case wire.Heartbeat:
		if s.opts.Health != nil {
			s.opts.Health.Trigger()
		}
		l.send(wire.HeartbeatAck{MessageID: m.ID})
	case wire.Payload:
		s.payload(ctx, l, m)
	case wire.Credentials:
		s.credentials(l, m)
	case wire.Attach:
		s.attachments(ctx, l, m)
	case wire.Manifest:
		s.manifest(l, m)
	case wire.StopVerificationAck:
		s.stopVerified(ctx, m)
	case wire.StageUpdate:
		s.stage(m.Message)
	case wire.PerformUpdate:
		s.perform(m.Message)
	case wire.Notice:
		s.log.Warn("ACS reports an error", zap.String("text", m.Text))
	case wire.Close:
		s.log.Info("ACS asks for a new connection", zap.String("text", m.Text))
		return errCloseRequested
	case *wire.Exception:
		return m
	}
	return nil
}

// credentials stores refreshed credentials. Those of a task that is not known are
// dropped unacknowledged, so that nothing is kept that nobody would free.
func (s *Session) credentials(l *link, m wire.Credentials) {
	if s.opts.Engine.Snapshot(m.Set.TaskARN) == nil {
		s.log.Warn("credentials are for a task that is not known", zap.String("task", m.Set.TaskARN))
		return
	}
	s.opts.Roles.Put(m.Set)
	ack := wire.CredentialsAck{MessageID: m.ID, CredentialsID: m.Set.ID}
	if m.HasExpiration {
		ack.Expiration = &m.Set.Expiration
	}
	l.send(ack)
}

// attachments records what is announced, then acknowledges it.
func (s *Session) attachments(ctx context.Context, l *link, m wire.Attach) {
	ctx, cancel := context.WithTimeout(ctx, handOver)
	defer cancel()
	if m.Unhandled != "" {
		s.log.Info("attachment is not for this kind of host", zap.String("type", m.Unhandled))
	}
	expires := time.Now().Add(m.Wait)
	for _, a := range m.Attachments {
		a.ExpiresAt = expires
		if err := s.opts.Attachments.Add(ctx, a); err != nil {
			s.log.Error("cannot record attachment", zap.String("attachment", a.ARN), zap.Error(err))
			return
		}
	}
	l.send(m.Ack())
}

func (s *Session) stage(m update.Message) {
	if s.opts.Updater == nil {
		s.reply(update.Reply{Message: m, Reason: "Updates are disabled"}, nil)
		return
	}
	s.opts.Updater.Stage(m, s.reply)
}

func (s *Session) perform(m update.Message) {
	if s.opts.Updater == nil {
		s.reply(update.Reply{Message: m, Reason: "Updates are disabled"}, nil)
		return
	}
	s.opts.Updater.Perform(m, s.reply)
}

// reply sends an answer about an update on whichever connection there is.
func (s *Session) reply(r update.Reply, written func()) {
	ack := wire.Origin{ID: r.ID, Cluster: r.Cluster, Instance: r.Instance}.Ack()
	if r.Reason != "" {
		s.whenever(wire.Nack{Ack: ack, Reason: r.Reason}, written)
		return
	}
	s.whenever(ack, written)
}
