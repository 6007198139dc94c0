package app

import (
	"cmp"
	"context"
	"time"

	"ecsagent/agent/doctor"
	"ecsagent/agent/task"
	"ecsagent/agent/tcs"
)

// health is what the doctor hears of the agent's other parts, and the doctor.
type health struct {
	plane  *doctor.ControlPlane
	store  *doctor.Store
	doctor *doctor.Doctor
}

// Statuses implements tcs.Checks.
func (h *health) Statuses() (list []tcs.Status, run uint64) {
	statuses, run := h.doctor.InstanceStatuses()
	for _, s := range statuses {
		list = append(list, tcs.Status{Type: s.Type, Status: string(s.Status), Updated: s.LastUpdated, Changed: s.LastStatusChange})
	}
	return list, run
}

// usualDockerRoot is looked at when the engine does not say where its data is.
const usualDockerRoot = "/var/lib/docker"

// answeredLately is for how long a call that Docker answered shows that it answers.
const answeredLately = 5 * time.Second

// newHealth makes the doctor. connected tells whether there is a connection to ECS.
func (a *agent) newHealth(connected func() bool, rules doctor.Check, changed func(*doctor.Report)) *health {
	h := &health{plane: doctor.NewControlPlane(connected, time.Now), store: &a.saving}
	checks := []doctor.Check{
		doctor.Docker(func(ctx context.Context) error { return a.docker.Answers(ctx, answeredLately) }), h.plane.Check(), a.clock.Check(),
		doctor.Disk(a.directories, diskUsage),
	}
	if a.cfg.Checkpoint {
		checks = append(checks, h.store.Check())
	}
	if rules.Run != nil {
		checks = append(checks, rules)
	}
	if a.network != nil && a.network.answers != nil {
		checks = append(checks, doctor.Networking(a.network.answers))
	}
	h.doctor = doctor.New(doctor.Options{Checks: checks, Changed: changed, Log: a.log})
	return h
}

// directories are those whose disks the doctor looks at.
func (a *agent) directories(ctx context.Context) []string {
	root, _ := a.docker.DataRoot(ctx) // Docker's silence is the finding of another check
	return []string{a.cfg.DataDir, cmp.Or(root, usualDockerRoot)}
}

// observedStore tells the doctor how saving fares.
type observedStore struct {
	checkpoint
	saving *doctor.Store
}

func (s observedStore) SaveTasks(seq int64, records []task.Record) error {
	return s.saving.Saved(s.checkpoint.SaveTasks(seq, records))
}

func (s observedStore) SaveState(arn string, state task.State) error {
	return s.saving.Saved(s.checkpoint.SaveState(arn, state))
}

func (s observedStore) SaveSent(arn string, sent task.Sent) error {
	return s.saving.Saved(s.checkpoint.SaveSent(arn, sent))
}

func (s observedStore) SaveSequence(seq int64) error {
	return s.saving.Saved(s.checkpoint.SaveSequence(seq))
}

func (s observedStore) SaveImages(records map[string]any) error {
	return s.saving.Saved(s.checkpoint.SaveImages(records))
}

// observedChecks is how long what was seen of the packet rules is taken for true where
// no keeper watches them: to look means to run programs.
const observedChecks = 5 * time.Minute

// sparing remembers an answer for a while.
func sparing(ask func(context.Context) ([]string, error), now func() time.Time) func(context.Context) ([]string, error) {
	var at time.Time
	var problems []string
	var err error
	return func(ctx context.Context) ([]string, error) {
		if at.IsZero() || now().Sub(at) >= observedChecks || len(problems) > 0 || err != nil {
			problems, err = ask(ctx)
			at = now()
		}
		return problems, err
	}
}
