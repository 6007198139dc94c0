package app

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"ecsagent/agent/doctor"
)

// noteVariable is what ecs-init has to say of updates.
const noteVariable = "AMAZON_ECS_INIT_NOTE"

// manager is the service manager, systemd, if one started the agent.
type manager struct {
	send  func(state string) (sent bool, err error)
	alive func(context.Context) error
	every time.Duration // between two signs of life; 0: none are wanted
	note  string        // of the supervisor, for the status
	log   *zap.Logger
}

// newManager reads what systemd says about itself in the environment; nil: nobody
// listens.
func newManager(alive func(context.Context) error, log *zap.Logger) *manager {
	send := func(state string) (bool, error) { return daemon.SdNotify(false, state) }
	if sent, err := send("STATUS=starting"); !sent {
		if err != nil {
			log.Warn("systemd is not told", zap.Error(err))
		}
		return nil
	}
	m := &manager{send: send, alive: alive, log: log, note: os.Getenv(noteVariable)}
	timeout, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not answered", zap.Error(err))
	}
	m.every = timeout / 3
	return m
}

// tell sends a state; what fails is worth a line and no more.
func (m *manager) tell(state string) {
	if m == nil {
		return
	}
	if _, err := m.send(state); err != nil {
		m.log.Debug("systemd is not told", zap.String("state", state), zap.Error(err))
	}
}

// status shows a report in `systemctl status`.
func (m *manager) status(cluster string, r *doctor.Report) {
	text := "cluster " + cluster + ": " + r.Summary()
	if m != nil && m.note != "" {
		text += "; " + m.note
	}
	m.tell("STATUS=" + oneLine(text))
}

// run tells that the agent is ready and, while it shows that it works, that it lives.
// One that hangs is silent, so that systemd starts another.
func (m *manager) run(ctx context.Context) error {
	m.tell(daemon.SdNotifyReady)
	defer m.tell(daemon.SdNotifyStopping)
	if m.every == 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(m.every)
	defer ticker.Stop()
	for {
		m.prove(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (m *manager) prove(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, m.every)
	defer cancel()
	if err := m.alive(limited); err == nil {
		m.tell(daemon.SdNotifyWatchdog)
	} else if ctx.Err() == nil {
		m.log.Error("no sign of life for systemd", zap.Error(err))
	}
}

// lastWords tells systemd why the agent ends, which it shows until the next start; the
// supervisor repeats it then. What cannot be told is in the log.
func lastWords(what string, err error, code int) {
	if err != nil && code != ExitOK {
		_, _ = daemon.SdNotify(false, "STATUS="+what+": "+oneLine(err.Error()))
	}
}

// oneLine keeps text of elsewhere from being more than one message.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
