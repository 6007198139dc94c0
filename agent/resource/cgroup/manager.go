package cgroup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// callTimeout bounds what is asked of systemd for one task.
const callTimeout = 30 * time.Second

// Slices is systemd, as far as it is needed. Both calls return once systemd has
// done what was asked. Values of properties are bool or uint64, as systemd wants them.
type Slices interface {
	// StartSlice starts a slice with the properties, or gives them to the slice when
	// it is there already.
	StartSlice(ctx context.Context, name, description string, properties map[string]any) error
	// StopSlice removes a slice; one that is not there counts as removed.
	StopSlice(ctx context.Context, name string) error
}

// Options are the Manager's parts and settings.
type Options struct {
	Path     string // ECS_CGROUP_PATH
	Driver   string // Docker's cgroup driver, from its info call
	Settings Settings
	Slices   Slices // needed with the driver systemd
	Log      *zap.Logger
}

// Manager makes and removes tasks' cgroups. After Init its methods may be called
// from any goroutine; calls for the same task must not overlap.
type Manager struct {
	opt    Options
	files  files
	layout Layout
	driver driver // nil until Init has succeeded
}

// driver makes the cgroups of one layout.
type driver interface {
	// prepare checks that limits can work here and makes the tasks' parent.
	prepare(ctx context.Context) error
	create(ctx context.Context, id string, l Limits) error
	remove(ctx context.Context, id string) error
	// kill kills every process in a task's cgroup and returns which they were.
	kill(id string) ([]int, error)
	// dirs lists the names below the tasks' parent; a name may come more than once.
	dirs() ([]string, error)
	// youngerThan tells whether a part of a task's cgroup was made or changed after a time.
	youngerThan(time.Time) func(id string) bool
}

// New makes a Manager; Init must follow.
func New(o Options) *Manager {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Manager{opt: o, files: osFiles{}}
}

// Init finds the layout and makes the parent of all tasks' cgroups. An error says
// why tasks cannot be bounded on this host.
func (m *Manager) Init(ctx context.Context) error {
	layout, err := detect(m.files, m.opt.Path, m.opt.Driver)
	if err != nil {
		return fmt.Errorf("prepare cgroups: %w", err)
	}
	needs := []string{"cpu", "memory"}
	if m.opt.Settings.Pids > 0 {
		needs = append(needs, "pids")
	}
	t := tree{files: m.files, root: m.opt.Path, layout: layout, needs: needs}
	var d driver
	switch {
	case layout.Driver == Systemd && m.opt.Slices == nil:
		return errors.New("prepare cgroups: docker uses systemd's cgroups, but there is no connection to systemd")
	case layout.Driver == Systemd:
		d = sliced{t, m.opt.Slices}
	case layout.Version == 1:
		d = &legacy{tree: t}
	default:
		d = unified{t}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := d.prepare(ctx); err != nil {
		return fmt.Errorf("prepare cgroups (version %d, driver %s): %w", layout.Version, layout.Driver, err)
	}
	m.layout, m.driver = layout, d
	m.opt.Log.Info("task cgroups ready", zap.Int("version", layout.Version), zap.String("driver", string(layout.Driver)))
	return nil
}

// Layout is what Init found; zero before.
func (m *Manager) Layout() Layout { return m.layout }

// Parent is HostConfig.CgroupParent of the task's containers; empty before Init.
func (m *Manager) Parent(spec *task.Spec) string {
	if m.driver == nil {
		return ""
	}
	return Parent(spec, m.layout)
}

// Create makes the task's cgroup with its limits and returns its Parent. A cgroup
// that is there is given the limits anew: it may be left of a start that was cut
// short. Errors are *CreateError.
func (m *Manager) Create(ctx context.Context, spec *task.Spec) (string, error) {
	if err := m.create(ctx, spec); err != nil {
		return "", &CreateError{TaskARN: spec.ARN, Err: err}
	}
	return Parent(spec, m.layout), nil
}

func (m *Manager) create(ctx context.Context, spec *task.Spec) error {
	if m.driver == nil {
		return errNotReady
	}
	id := spec.ID()
	if err := checkID(id); err != nil {
		return err
	}
	limits, err := LimitsOf(spec, m.opt.Settings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return m.driver.create(ctx, id, limits)
}

// Remove removes the task's cgroup. It may be called at any time and again: a cgroup
// that is not there counts as removed, and one in which a process runs is left as it
// is, with ErrBusy.
func (m *Manager) Remove(ctx context.Context, spec *task.Spec) error {
	return m.RemoveID(ctx, spec.ID())
}

// RemoveID is Remove for a task of which only the id is known.
func (m *Manager) RemoveID(ctx context.Context, id string) error {
	if m.driver == nil {
		return errNotReady
	}
	if checkID(id) != nil {
		return nil // it never had one
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := m.driver.remove(ctx, id); err != nil {
		return fmt.Errorf("remove cgroup of task %q: %w", id, err)
	}
	return nil
}

// KillRest kills every process in a task's cgroup and returns which they were. It is for
// tasks that have no containers any more.
func (m *Manager) KillRest(id string) ([]int, error) {
	if m.driver == nil {
		return nil, errNotReady
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	ended, err := m.driver.kill(id)
	if err != nil {
		err = fmt.Errorf("kill what is left in the cgroup of task %q: %w", id, err)
	}
	return ended, err
}

// List returns the ids of the tasks that have a cgroup, sorted.
func (m *Manager) List(ctx context.Context) ([]string, error) {
	if m.driver == nil {
		return nil, errNotReady
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := m.driver.dirs()
	if err != nil {
		return nil, fmt.Errorf("list task cgroups: %w", err)
	}
	return m.layout.taskIDs(names), nil
}

var errNotReady = errors.New("task cgroups are not initialised")

// CreateError tells that a task's cgroup could not be made. As a *task.Error it is
// the reason that ECS shows (docs/spec/02 section 7.8).
type CreateError struct {
	TaskARN string
	Err     error
}

// Error names the task and the cause.
func (e *CreateError) Error() string {
	return fmt.Sprintf("create cgroup of task %q: %v", e.TaskARN, e.Err)
}

// Unwrap returns the cause and what ECS shows.
func (e *CreateError) Unwrap() []error {
	return []error{e.Err, &task.Error{Name: "CgroupError", Message: "Agent could not create task's platform resources"}}
}
