package execcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/task"
)

// Options are the settings of a Hook.
type Options struct {
	OS      string // of the containers
	Dir     string // of the programs, certificates and configuration
	LogDir  string // the folders of the agents' logs are below it
	HostLog string // LogDir as the Docker daemon sees it; empty: the same
	// IPv6Only says that the host has no IPv4.
	IPv6Only bool
	Log      *zap.Logger
}

// Hook implements engine.Hook.
type Hook struct{ opts Options }

// New makes a Hook. It touches nothing.
func New(o Options) *Hook {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.HostLog == "" {
		o.HostLog = o.LogDir
	}
	return &Hook{opts: o}
}

// Kind implements engine.Hook.
func (*Hook) Kind() string { return "execcmd" }

// Needs implements engine.Hook. The random part of the folder in each container is chosen
// here.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	r := task.Resource{Name: h.Kind(), Text: "what ECS Exec needs", Before: task.ContainerCreated, Data: map[string]string{}}
	for i := range spec.Containers {
		if c := &spec.Containers[i]; c.ExecAgent() != nil {
			r.Containers = append(r.Containers, c.Name)
			r.Data[c.Name] = uuid.NewString()
		}
	}
	if len(r.Containers) == 0 {
		return nil, nil
	}
	if !resource.IsElement(spec.ID()) {
		return nil, fmt.Errorf("ECS Exec: task id %q cannot name a folder", spec.ID())
	}
	return []task.Resource{r}, nil
}

// previewVersion stands for the version in a Preview.
const previewVersion = "VERSION"

// Preview implements engine.Hook.
func (h *Hook) Preview(spec *task.Spec, r *task.Resource) resource.Provided {
	version := filepath.Join(h.opts.Dir, binFolder, previewVersion)
	given := resource.Provided{Inputs: map[string]dockerspec.Inputs{}}
	for _, name := range r.Containers {
		l := h.layout(spec, name, "ID")
		l.version = version
		given.Inputs[name] = dockerspec.Inputs{Binds: l.binds()}
	}
	return given
}

// Provision implements engine.Hook. It never fails: a container without an exec agent is
// one into which no command can be sent, and ECS is told why.
func (h *Hook) Provision(_ context.Context, s *task.Snapshot, r *task.Resource) (resource.Provided, error) {
	given := resource.Provided{Inputs: map[string]dockerspec.Inputs{}, Agents: map[string]task.AgentSetup{}}
	for _, name := range r.Containers {
		l := h.layout(s.Spec, name, r.Data[name])
		if err := h.place(&l); err != nil {
			h.opts.Log.Warn("exec agent not prepared", zap.String("task", s.ARN), zap.String("container", name), zap.Error(err))
			given.Agents[name] = task.AgentSetup{Problem: err.Error()}
			continue
		}
		given.Inputs[name] = dockerspec.Inputs{Binds: l.binds()}
		given.Agents[name] = l.setup()
	}
	return given, nil
}

// place finds and writes what is to be mounted.
func (h *Hook) place(l *layout) (err error) {
	if l.version, err = newest(h.opts.Dir, h.opts.OS); err != nil {
		return err
	}
	if h.opts.OS != windows {
		if err := certificates(h.opts.Dir); err != nil {
			return err
		}
	}
	if err := put(l.configFile(), l.config); err != nil {
		return fmt.Errorf("write the SSM agent's configuration: %w", err)
	}
	if err := put(l.logFile(), l.logging); err != nil {
		return fmt.Errorf("write the configuration of the SSM agent's log: %w", err)
	}
	if err := makeLogs(h.opts.LogDir, l.task, l.folder); err != nil {
		return fmt.Errorf("make the folder of the SSM agent's log: %w", err)
	}
	return nil
}

func (h *Hook) layout(spec *task.Spec, container, id string) layout {
	c := &spec.Containers[spec.Index(container)]
	folder := strings.TrimLeft(container, "-")
	if folder == "" {
		folder = "nameless-container-" + id
	}
	return layout{
		os: h.opts.OS, dir: h.opts.Dir, hostLog: h.opts.HostLog, task: spec.ID(), folder: folder, id: id,
		config:  configText(sessionLimit(c.ExecAgent()), h.opts.IPv6Only || ipv6Only(spec)),
		logging: logText(h.opts.OS),
	}
}

// ipv6Only reports whether the task has a network of its own without IPv4.
func ipv6Only(spec *task.Spec) bool {
	return len(spec.ENIs) > 0 && len(spec.ENIs[0].IPv4) == 0 && len(spec.ENIs[0].IPv6) > 0
}

// makeLogs makes the folder of one container's logs. A task's name, or a link that a
// container left, leads nowhere else.
func makeLogs(base, id, container string) error {
	if !resource.IsElement(container) {
		return fmt.Errorf("container name %q cannot name a folder", container)
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.MkdirAll(filepath.Join(id, container), 0o755)
}

// CleanUp implements engine.Hook: the logs go with the task.
func (h *Hook) CleanUp(_ context.Context, s *task.Snapshot, _ *task.Resource, _ map[string]string) error {
	root, err := os.OpenRoot(h.opts.LogDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(s.ID())
}
