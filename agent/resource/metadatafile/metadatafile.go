package metadatafile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// Instance is what the files tell of the container instance.
type Instance struct {
	Cluster, ARN, Zone                   string
	PrivateIPv4, PublicIPv4, PrimaryIPv6 string
}

// Options configure Files.
type Options struct {
	Dir      string // where the agent writes, DATADIR/metadata
	HostDir  string // the same folder as the Docker daemon sees it
	OS       string // of the containers
	Relabel  bool   // SELinux: the mount gets a label of its own
	Instance func() Instance
	Log      *zap.Logger
}

// Files is safe for concurrent use. Updates are written by Run, one at a time.
type Files struct {
	o    Options
	mu   sync.Mutex
	todo map[string]*task.Snapshot // by ARN; nil: the task is gone
	done map[string]map[int]string // what was written of the containers of a task
	wake chan struct{}
}

// fileName is the name of every file.
const fileName = "ecs-container-metadata.json"

// New makes Files. It touches nothing.
func New(o Options) *Files {
	return &Files{o: o, todo: make(map[string]*task.Snapshot), done: make(map[string]map[int]string), wake: make(chan struct{}, 1)}
}

// Mount is how a container gets its file.
type Mount struct {
	Bind string // for the host configuration
	File string // inside the container, for ECS_CONTAINER_METADATA_FILE
}

// Create writes the first stage of a container's file, before the container is made.
func (f *Files) Create(spec *task.Spec, i int) (Mount, error) {
	rel, err := relative(spec, i)
	if err != nil {
		return Mount{}, err
	}
	if err := f.write(rel, f.first(spec, i)); err != nil {
		return Mount{}, err
	}
	inside := "/opt/ecs/metadata/" + uuid.NewString()
	m := Mount{Bind: filepath.Join(f.o.HostDir, rel) + ":" + inside, File: inside + "/" + fileName}
	if f.o.OS == "windows" {
		inside = `C:\ProgramData\Amazon\ECS\metadata\` + filepath.Base(inside)
		return Mount{Bind: filepath.Join(f.o.HostDir, rel) + ":" + inside, File: inside + `\` + fileName}, nil
	}
	if f.o.Relabel {
		m.Bind += ":Z"
	}
	return m, nil
}

// Published has the files of containers that run brought up to date. It does not wait.
func (f *Files) Published(s *task.Snapshot) {
	for i := range s.State.Containers {
		if s.State.Containers[i].Known.IsRunning() && !s.Containers[i].Internal() {
			f.enqueue(s.ARN, s)
			return
		}
	}
}

// Gone has the files of a task removed. It does not wait.
func (f *Files) Gone(arn string) { f.enqueue(arn, nil) }

func (f *Files) enqueue(arn string, s *task.Snapshot) {
	f.mu.Lock()
	f.todo[arn] = s
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		f.mu.Lock()
		todo := f.todo
		f.todo = make(map[string]*task.Snapshot)
		f.mu.Unlock()
		for arn, s := range todo {
			if s == nil {
				f.clean(arn)
			} else {
				f.update(s)
			}
		}
	}
}

// update writes the second stage of containers that were started since they were
// looked at last. A container without a first stage has no mount, and gets no file.
func (f *Files) update(s *task.Snapshot) {
	for i := range s.State.Containers {
		st := &s.State.Containers[i]
		run := fmt.Sprint(st.RuntimeID, " ", st.RestartCount)
		if !st.Known.IsRunning() || st.Restarting || s.Containers[i].Internal() || f.done[s.ARN][i] == run {
			continue
		}
		rel, err := relative(s.Spec, i)
		if err == nil {
			if _, statErr := os.Stat(filepath.Join(f.o.Dir, rel, fileName)); statErr == nil {
				err = f.write(rel, f.second(s, i))
			}
		}
		if err != nil {
			f.o.Log.Warn("metadata file not written", zap.String("task", s.ARN), zap.String("container", s.Containers[i].Name), zap.Error(err))
		}
		if f.done[s.ARN] == nil {
			f.done[s.ARN] = make(map[int]string)
		}
		f.done[s.ARN][i] = run
	}
}

func (f *Files) clean(arn string) {
	delete(f.done, arn)
	rel, err := taskPath(arn)
	if err == nil {
		err = os.RemoveAll(filepath.Join(f.o.Dir, rel))
	}
	if err != nil {
		f.o.Log.Warn("metadata files not removed", zap.String("task", arn), zap.Error(err))
		return
	}
	_ = os.Remove(filepath.Dir(filepath.Join(f.o.Dir, rel))) // the cluster's folder, when it is empty
}

// taskPath is the text after the first slash of the ARN's resource part.
func taskPath(arn string) (string, error) {
	_, rel, ok := strings.Cut(arn, "/")
	if !ok || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("task %q has no path of its own", arn)
	}
	return filepath.FromSlash(rel), nil
}

func relative(spec *task.Spec, i int) (string, error) {
	rel, err := taskPath(spec.ARN)
	if err != nil {
		return "", err
	}
	name := spec.Containers[i].Name
	if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\:`) {
		return "", fmt.Errorf("container name %q makes no folder", name)
	}
	return filepath.Join(rel, name), nil
}

// write replaces a file as a whole: readers see the old one or the new one.
func (f *Files) write(rel string, c *content) error {
	data, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Join(f.o.Dir, rel)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "temp_metadata_file*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), filepath.Join(dir, fileName))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}
