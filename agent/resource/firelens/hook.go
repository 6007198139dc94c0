package firelens

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/task"
)

// Options of FireLens containers.
const (
	optionMetadata    = "enable-ecs-log-metadata"
	optionConfigType  = "config-file-type"
	optionConfigValue = "config-file-value"
)

// Options are the parts and settings of a Hook. Without Objects it can only tell what
// would be made.
type Options struct {
	OS      string // of the containers; there is no FireLens but on linux
	Dir     string // where the agent writes, DATADIR/firelens
	HostDir string // the same folder as the Docker daemon sees it
	Cluster string // its name or ARN
	// InstanceID is that of the EC2 instance; empty when there is none.
	InstanceID string
	Objects    *objects.Reader
	Log        *zap.Logger
}

// Hook implements engine.Hook.
type Hook struct{ opts Options }

// New makes a Hook. It touches nothing.
func New(o Options) *Hook {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Hook{o}
}

// Kind implements engine.Hook.
func (*Hook) Kind() string { return "firelens" }

// Needs implements engine.Hook. What the others log is in the configuration of the one
// container that needs it.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	r := spec.Router()
	if r < 0 {
		return nil, nil
	}
	c := &spec.Containers[r]
	if h.opts.OS != "linux" {
		return nil, errors.New("FireLens is not supported on this container instance: it takes Linux")
	}
	if err := check(c); err != nil {
		return nil, fmt.Errorf("unable to initialize firelens resource: %w", err)
	}
	for i := range spec.Containers {
		if i != r && spec.Containers[i].FireLens != nil {
			return nil, fmt.Errorf("unable to initialize firelens resource: %s and %s are both FireLens containers, and a task can have one",
				c.Name, spec.Containers[i].Name)
		}
	}
	if !resource.IsElement(spec.ID()) {
		return nil, fmt.Errorf("unable to initialize firelens resource: task id %q cannot name a folder", spec.ID())
	}
	fetches := c.FireLens.Options[optionConfigType] == "s3"
	if fetches && spec.ExecutionCredentialsID == "" {
		return nil, fmt.Errorf("FireLens container %s has its configuration in S3, which takes a task execution role, and the task has none", c.Name)
	}
	if value, ok := c.FireLens.Options[optionMetadata]; ok && value != "true" && value != "false" {
		h.opts.Log.Info("option of a FireLens container is no boolean", zap.String("task", spec.ARN), zap.String("container", c.Name),
			zap.String("option", optionMetadata), zap.String("value", value), zap.Bool("taken for", addsMetadata(c)))
	}
	return []task.Resource{{
		Name: h.Kind(), Text: "FireLens configuration", Containers: []string{c.Name}, Before: task.ContainerCreated, NeedsRole: fetches,
	}}, nil
}

// check finds what is wrong with a FireLens container's settings.
func check(c *task.Container) error {
	if _, ok := kinds[c.FireLens.Type]; !ok {
		return fmt.Errorf("unsupported firelens config type %s", c.FireLens.Type)
	}
	option := func(name, want string) error {
		return fmt.Errorf("option %s of container %s is %q: want %s", name, c.Name, c.FireLens.Options[name], want)
	}
	source, given := c.FireLens.Options[optionConfigType]
	if given && source != "s3" && source != "file" {
		return option(optionConfigType, "s3 or file")
	}
	if given && c.FireLens.Options[optionConfigValue] == "" {
		return option(optionConfigValue, "the ARN of an S3 object or the path of a file in the container, as "+optionConfigType+" says")
	}
	return nil
}

// Preview implements engine.Hook.
func (h *Hook) Preview(spec *task.Spec, _ *task.Resource) resource.Provided { return h.give(spec) }

// give is how the FireLens container gets what was made for it.
func (h *Hook) give(spec *task.Spec) resource.Provided {
	router := spec.Containers[spec.Router()].FireLens
	k := kinds[router.Type]
	config := path.Join(h.opts.HostDir, spec.ID(), configFolder)
	binds := []string{
		path.Join(config, configFile) + ":" + k.config,
		dockerspec.SocketFolder(h.opts.HostDir, spec.ID()) + "/:" + path.Dir(socketPath) + "/",
	}
	if router.Options[optionConfigType] == "s3" {
		binds = append(binds, path.Join(config, externalFile)+":"+k.external)
	}
	return resource.Provided{Shared: dockerspec.Inputs{Binds: binds}}
}

// Provision implements engine.Hook. What an earlier process made is made again, for it
// may be half there.
func (h *Hook) Provision(ctx context.Context, s *task.Snapshot, _ *task.Resource) (resource.Provided, error) {
	c := &s.Containers[s.Router()]
	if _, ok := kinds[c.FireLens.Type]; !ok {
		return resource.Provided{}, fmt.Errorf("invalid firelens configuration type: %s", c.FireLens.Type)
	}
	dir := filepath.Join(h.opts.Dir, s.ID())
	folder, err := openFolder(h.opts.Dir, s.ID(), c, os.Getgid())
	if err != nil {
		return resource.Provided{}, fmt.Errorf("unable to initialize resource directory %s: %w", dir, err)
	}
	defer folder.Close()
	if c.FireLens.Options[optionConfigType] == "s3" {
		text, err := h.fetch(ctx, s.ExecutionCredentialsID, c.FireLens.Options[optionConfigValue])
		if err == nil {
			err = write(folder, externalFile, text)
		}
		if err != nil {
			return resource.Provided{}, fmt.Errorf("unable to download firelens s3 config file: %w", err)
		}
	}
	p, err := planOf(s.Spec, identity{cluster: h.cluster(), instanceID: h.opts.InstanceID})
	if err == nil {
		err = write(folder, configFile, []byte(kinds[p.kind].write(&p)))
	}
	if err != nil {
		return resource.Provided{}, fmt.Errorf("unable to generate firelens config file: %w", err)
	}
	h.opts.Log.Debug("firelens configuration made", zap.String("task", s.ARN), zap.String("container", c.Name))
	return h.give(s.Spec), nil
}

func (h *Hook) cluster() string { return h.opts.Cluster[strings.LastIndexByte(h.opts.Cluster, '/')+1:] }

// fetch downloads the container's own configuration.
func (h *Hook) fetch(ctx context.Context, credentialsID, arn string) ([]byte, error) {
	o, err := objects.Parse(arn)
	if err != nil {
		return nil, err
	}
	return h.opts.Objects.One(ctx, credentialsID, o)
}

// CleanUp implements engine.Hook.
func (h *Hook) CleanUp(_ context.Context, s *task.Snapshot, _ *task.Resource, _ map[string]string) error {
	return removeFolder(h.opts.Dir, s.ID())
}

// Sweep implements engine.Sweeper.
func (h *Hook) Sweep(ctx context.Context, known func(taskID string) bool) error {
	ids, err := listFolders(h.opts.Dir)
	failed := []error{err}
	for _, id := range ids {
		if known(id) || ctx.Err() != nil {
			continue
		}
		if err := removeFolder(h.opts.Dir, id); err != nil {
			failed = append(failed, err)
			continue
		}
		h.opts.Log.Info("firelens folder of an unknown task removed", zap.String("task", id))
	}
	return errors.Join(failed...)
}
