package envfile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/task"
)

// Options are the parts and settings of a Hook. Without Objects it can only tell what
// would be fetched.
type Options struct {
	Dir     string // DATADIR/envfiles
	Cluster string // its name
	Objects *objects.Reader
	Log     *zap.Logger
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
func (*Hook) Kind() string { return "envfile" }

// directory is the member of a resource's data that holds the task's folder below Dir.
const directory = "directory"

// Needs implements engine.Hook: a resource for each container with files.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	var list []task.Resource
	for i := range spec.Containers {
		c := &spec.Containers[i]
		if len(c.EnvFiles) == 0 {
			continue
		}
		if spec.ExecutionCredentialsID == "" {
			return nil, fmt.Errorf("container %s has environment files, which take a task execution role, and the task has none", c.Name)
		}
		for _, f := range c.EnvFiles {
			if f.Type != "s3" {
				return nil, fmt.Errorf("environment file %s of container %s is of type %q: want s3", f.Value, c.Name, f.Type)
			}
		}
		if !resource.IsElement(spec.ID()) {
			return nil, fmt.Errorf("task id %q cannot name a folder for environment files", spec.ID())
		}
		cluster := h.opts.Cluster[strings.LastIndexByte(h.opts.Cluster, '/')+1:]
		if !resource.IsElement(cluster) {
			cluster = "default"
		}
		list = append(list, task.Resource{
			Name: "envfile_" + c.Name, Text: "environment files of container " + c.Name, Containers: []string{c.Name},
			Before: task.ContainerCreated, NeedsRole: true, Data: map[string]string{directory: path.Join(cluster, spec.ID())},
		})
	}
	return list, nil
}

// Preview implements engine.Hook. Which variables there are, only the files tell.
func (h *Hook) Preview(spec *task.Spec, r *task.Resource) resource.Provided {
	variables := make(map[string]string)
	for _, f := range filesOf(spec, r) {
		variables["<variables of "+f.Value+">"] = "<values>"
	}
	return given(variables)
}

func given(variables map[string]string) resource.Provided {
	return resource.Provided{Shared: dockerspec.Inputs{EnvFiles: variables}}
}

// filesOf are the files of the resource's container.
func filesOf(spec *task.Spec, r *task.Resource) []task.EnvFile {
	for i := range spec.Containers {
		if slices.Contains(r.Containers, spec.Containers[i].Name) {
			return spec.Containers[i].EnvFiles
		}
	}
	return nil
}

// Provision implements engine.Hook. Files that an earlier process fetched are fetched
// again, for they may be half there.
func (h *Hook) Provision(ctx context.Context, s *task.Snapshot, r *task.Resource) (resource.Provided, error) {
	files := filesOf(s.Spec, r)
	list := make([]objects.Object, len(files))
	var failed []error
	for i, f := range files {
		var err error
		if list[i], err = parseObject(f.Value); err == nil {
			_, err = place(list[i])
		}
		failed = append(failed, err)
	}
	if err := joined(failed); err != nil {
		return resource.Provided{}, err
	}
	texts, err := h.fetch(ctx, s.ExecutionCredentialsID, list)
	if err != nil {
		return resource.Provided{}, err
	}
	if err := h.keep(ctx, r.Data[directory], list, texts); err != nil {
		return resource.Provided{}, err
	}
	variables := make(map[string]string)
	for i := range slices.Backward(list) { // so that the first file has the last word
		one, err := parse(texts[i])
		if err != nil {
			return resource.Provided{}, &task.Error{
				Name:    "ResourceInitializationError",
				Message: fmt.Sprintf("resource cannot be initialized for task %s: environment file %s: %v", s.ARN, files[i].Value, err),
			}
		}
		maps.Copy(variables, one)
	}
	h.opts.Log.Debug("environment files fetched", zap.String("task", s.ARN), zap.String("resource", r.Name), zap.Int("count", len(files)))
	return given(variables), nil
}

// fetch downloads the objects at the same time.
func (h *Hook) fetch(ctx context.Context, credentialsID string, list []objects.Object) ([][]byte, error) {
	found, err := h.opts.Objects.Get(ctx, credentialsID, list...)
	if errors.Is(err, objects.ErrNoRole) {
		return nil, fmt.Errorf("environment file resource: %w", err)
	}
	if err != nil {
		return nil, err
	}
	var failed []error
	texts := make([][]byte, len(list))
	for i, o := range list {
		texts[i] = found[o].Value
		if err := found[o].Err; err != nil && slices.Index(list, o) == i {
			failed = append(failed, download(o, err))
		}
	}
	return texts, joined(failed)
}

// download says that an object could not be had.
func download(o objects.Object, err error) error {
	return fmt.Errorf("unable to download env file with key %s from bucket %s, error: %w", o.Key, o.Bucket, err)
}

// keep writes the files into the task's folder.
func (h *Hook) keep(ctx context.Context, dir string, list []objects.Object, texts [][]byte) error {
	folder, err := openFolder(h.opts.Dir, dir)
	if err != nil {
		return fmt.Errorf("unable to initialize envfile resource directory, error: %w", err)
	}
	defer folder.Close()
	failed := make([]error, len(list))
	var writes sync.WaitGroup
	for i, o := range list {
		writes.Go(func() {
			if err := write(ctx, folder, o, texts[i]); err != nil {
				failed[i] = download(o, err)
			}
		})
	}
	writes.Wait()
	return joined(failed)
}

// joined tells of all errors in one line; nil for none.
func joined(errs []error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	if texts == nil {
		return nil
	}
	return errors.New(strings.Join(texts, ";"))
}

// CleanUp implements engine.Hook. The folder is that of all containers of the task.
func (h *Hook) CleanUp(_ context.Context, _ *task.Snapshot, r *task.Resource, _ map[string]string) error {
	return removeFolder(h.opts.Dir, r.Data[directory])
}

// Sweep implements engine.Sweeper.
func (h *Hook) Sweep(ctx context.Context, known func(taskID string) bool) error {
	folders, err := listFolders(h.opts.Dir)
	var failed []error
	for _, dir := range folders {
		if id := path.Base(dir); known(id) || ctx.Err() != nil {
			continue
		}
		if err := removeFolder(h.opts.Dir, dir); err != nil {
			failed = append(failed, err)
			continue
		}
		h.opts.Log.Info("environment files of an unknown task removed", zap.String("task", path.Base(dir)))
	}
	return errors.Join(append(failed, err)...)
}
