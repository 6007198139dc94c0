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
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/resource/shared"
	"ecsagent/agent/task"
)

// freshness is how old a file may be that a task gets: as secrets of package secrets,
// long enough for a burst of tasks.
const freshness = 5 * time.Second

// downloadLimit bounds the download of one file, all attempts together.
const downloadLimit = 30 * time.Second

// Objects reads from S3; *s3.Client does.
type Objects interface {
	Get(ctx context.Context, credentials aws.CredentialsProvider, bucket, key string) ([]byte, error)
}

// Options are the parts and settings of a Hook. Without Objects it can only tell what
// would be fetched.
type Options struct {
	Dir     string // DATADIR/envfiles
	Cluster string // its name
	Objects Objects
	// Credentials gives the provider for a set of execution credentials, nil for one that
	// is not known; Role the role behind it.
	Credentials func(credentialsID string) aws.CredentialsProvider
	Role        func(credentialsID string) (arn string, ok bool)
	Log         *zap.Logger
}

// Hook implements engine.Hook.
type Hook struct {
	opts  Options
	files *shared.Values[wanted, []byte]
}

// wanted is an object as a role sees it.
type wanted struct {
	role string
	object
}

// New makes a Hook. It touches nothing.
func New(o Options) *Hook {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Hook{opts: o, files: shared.New[wanted, []byte](freshness)}
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
	objects := make([]object, len(files))
	var failed []error
	for i, f := range files {
		var err error
		if objects[i], err = parseObject(f.Value); err == nil {
			_, err = place(objects[i])
		}
		failed = append(failed, err)
	}
	if err := joined(failed); err != nil {
		return resource.Provided{}, err
	}
	texts, err := h.fetch(ctx, s.ExecutionCredentialsID, objects)
	if err != nil {
		return resource.Provided{}, err
	}
	if err := h.keep(ctx, r.Data[directory], objects, texts); err != nil {
		return resource.Provided{}, err
	}
	variables := make(map[string]string)
	for i := range slices.Backward(objects) { // so that the first file has the last word
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
func (h *Hook) fetch(ctx context.Context, credentialsID string, objects []object) ([][]byte, error) {
	var credentials aws.CredentialsProvider
	if h.opts.Credentials != nil {
		credentials = h.opts.Credentials(credentialsID)
	}
	if credentials == nil {
		return nil, errors.New("environment file resource: unable to find execution role credentials")
	}
	role := credentialsID
	if h.opts.Role != nil {
		if arn, ok := h.opts.Role(credentialsID); ok && arn != "" {
			role = arn
		}
	}
	var keys []wanted
	for _, o := range objects {
		if k := (wanted{role, o}); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	single := func(keys []wanted) [][]wanted { return slices.Collect(slices.Chunk(keys, 1)) }
	results, err := h.files.Get(ctx, keys, single, func(ctx context.Context, keys []wanted) map[wanted]shared.Result[[]byte] {
		ctx, cancel := context.WithTimeout(ctx, downloadLimit)
		defer cancel()
		o := keys[0].object
		text, err := h.opts.Objects.Get(ctx, credentials, o.bucket, o.key)
		if err != nil {
			err = fmt.Errorf("unable to download env file with key %s from bucket %s, error: %w", o.key, o.bucket, err)
		}
		return map[wanted]shared.Result[[]byte]{keys[0]: {Value: text, Err: err}}
	})
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, k := range keys {
		failed = append(failed, results[k].Err)
	}
	texts := make([][]byte, len(objects))
	for i, o := range objects {
		texts[i] = results[wanted{role, o}].Value
	}
	return texts, joined(failed)
}

// keep writes the files into the task's folder.
func (h *Hook) keep(ctx context.Context, dir string, objects []object, texts [][]byte) error {
	folder, err := openFolder(h.opts.Dir, dir)
	if err != nil {
		return fmt.Errorf("unable to initialize envfile resource directory, error: %w", err)
	}
	defer folder.Close()
	failed := make([]error, len(objects))
	var writes sync.WaitGroup
	for i, o := range objects {
		writes.Go(func() {
			if err := write(ctx, folder, o, texts[i]); err != nil {
				failed[i] = fmt.Errorf("unable to download env file with key %s from bucket %s, error: %w", o.key, o.bucket, err)
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
