// Package official reads what the official agent has left in its state file, so that a
// container instance can change agents without losing its identity and its tasks
// (docs/spec/02 section 9.2). The file is only read: the way back stays open.
//
// Of a task it takes what its containers need that exist: who they are, what they are to
// the task, and the ids under which they ask the agent. How they were made is Docker's
// knowledge, and they are not made again. A task that had no containers yet cannot go on,
// and ends with a reason.
package official

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"ecsagent/agent/task"
)

// FileName is the name of the official agent's state file in the data directory.
const FileName = "agent.db"

// lockTimeout is how long Read waits for an agent that ends.
const lockTimeout = 2 * time.Second

// ErrInUse means that the official agent runs.
var ErrInUse = errors.New("the official agent's state file is in use: stop that agent first")

// reasonNotStarted is that of tasks which had no containers yet.
const reasonNotStarted = "Agent was replaced by another one before the task had started"

// State is what the file says.
type State struct {
	InstanceARN, Cluster, EC2InstanceID, AvailabilityZone string

	Seq   int64 // of the latest task manifest; 0 for none
	Tasks []task.Record
	// Problems are records that could not be read, and are left out.
	Problems []string
}

// Read reads the file in dir; nil when there is none. Damage is an error, or a problem
// where it is one record's.
func Read(dir string, now time.Time) (state *State, err error) {
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is nothing to tell
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("read the official agent's state file %s: %w", path, err)
		}
	}()
	// bbolt panics at pages that make no sense.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			state, err = nil, fmt.Errorf("it is damaged: %v", cause)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, ErrInUse
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	state = &State{}
	return state, db.View(func(tx *bolt.Tx) error {
		state.readMetadata(tx)
		return state.readTasks(tx, now)
	})
}

func (s *State) readMetadata(tx *bolt.Tx) {
	b := tx.Bucket([]byte("metadata"))
	get := func(key string) string {
		if b == nil {
			return ""
		}
		raw := b.Get([]byte(key))
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return text
		}
		return string(raw)
	}
	s.InstanceARN, s.Cluster = get("container-instance-arn"), get("cluster-name")
	s.EC2InstanceID, s.AvailabilityZone = get("ec2-instance-id"), get("availability-zone")
	s.Seq, _ = strconv.ParseInt(get("task-manifest-seq-num"), 10, 64) // 0 is what an empty one means
}

// savedTask is a record of a task. Members whose form is not certain are read by
// themselves, and count as absent when they are something else.
type savedTask struct {
	ARN         string `json:"Arn"`
	Family      string
	Version     string
	ServiceName loose[string]
	LaunchType  loose[string]
	Containers  []savedContainer

	CredentialsID          loose[string]  `json:"credentialsID"`
	ExecutionCredentialsID loose[string]  `json:"executionCredentialsID"`
	CPU                    loose[float64] `json:"Cpu"`
	Memory                 loose[int64]
	NetworkMode            loose[string]
	PIDMode                loose[string] `json:"PidMode"`
	IPCMode                loose[string] `json:"IpcMode"`
	EnableFaultInjection   loose[bool]   `json:"enableFaultInjection"`
	LocalIPAddress         loose[string]
}

type savedContainer struct {
	Name        string
	TaskARN     string        `json:"taskARN"`
	RuntimeID   loose[string] `json:"RuntimeID"`
	EndpointID  loose[string] `json:"V3EndpointID"`
	ARN         loose[string] `json:"ContainerArn"`
	Image       loose[string]
	ImageID     loose[string]
	ImageDigest loose[string]
	CPU         loose[int64] `json:"Cpu"`
	Memory      loose[int64]
	Essential   loose[bool]
	Links       loose[[]string]
	Health      loose[string]    `json:"healthCheckType"`
	DependsOn   loose[[]depends] `json:"dependsOn"`
	GPUs        loose[[]string]  `json:"GPUIDs"`
	dockerID    string
	dockerName  string
}

type depends struct{ ContainerName, Condition string }

// loose is a member that is taken when it has the form that is expected.
type loose[T any] struct{ is T }

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose[T]) UnmarshalJSON(raw []byte) error {
	var v T
	if json.Unmarshal(raw, &v) == nil {
		l.is = v
	}
	return nil
}

func (s *State) readTasks(tx *bolt.Tx, now time.Time) error {
	alone, err := s.readContainers(tx)
	if err != nil {
		return err
	}
	b := tx.Bucket([]byte("tasks"))
	if b == nil {
		return nil
	}
	return b.ForEach(func(key, value []byte) error {
		var t savedTask
		if err := json.Unmarshal(value, &t); err != nil || t.ARN == "" || len(t.Containers) == 0 {
			s.Problems = append(s.Problems, fmt.Sprintf("saved task %q cannot be read: its containers are adopted by their labels (%v)", key, err))
			return nil
		}
		if task.IsInternal(t.ARN) {
			return nil // a helper of its own, such as the CSI driver; its container is left alone
		}
		for i := range t.Containers {
			if c, ok := alone[t.ARN+" "+t.Containers[i].Name]; ok {
				t.Containers[i] = c
			}
		}
		s.Tasks = append(s.Tasks, t.record(now))
		return nil
	})
}

// readContainers reads the records of containers, which are newer than the copies in
// their tasks, by the task's ARN and their name.
func (s *State) readContainers(tx *bolt.Tx) (map[string]savedContainer, error) {
	all := make(map[string]savedContainer)
	b := tx.Bucket([]byte("containers"))
	if b == nil {
		return all, nil
	}
	return all, b.ForEach(func(key, value []byte) error {
		var r struct {
			DockerID   string `json:"DockerId"`
			DockerName string
			Container  savedContainer
		}
		if err := json.Unmarshal(value, &r); err != nil || r.Container.Name == "" {
			s.Problems = append(s.Problems, fmt.Sprintf("saved container %q cannot be read (%v)", key, err))
			return nil
		}
		r.Container.dockerID, r.Container.dockerName = r.DockerID, r.DockerName
		all[r.Container.TaskARN+" "+r.Container.Name] = r.Container
		return nil
	})
}

// record is the task as this agent keeps it.
func (t *savedTask) record(now time.Time) task.Record {
	spec := &task.Spec{
		ARN: t.ARN, Family: t.Family, Version: t.Version, ServiceName: t.ServiceName.is, LaunchType: t.LaunchType.is,
		CPU: t.CPU.is, Memory: t.Memory.is, NetworkMode: t.NetworkMode.is, PIDMode: t.PIDMode.is, IPCMode: t.IPCMode.is,
		CredentialsID: t.CredentialsID.is, ExecutionCredentialsID: t.ExecutionCredentialsID.is, EnableFaultInjection: t.EnableFaultInjection.is,
	}
	for i := range t.Containers {
		spec.Containers = append(spec.Containers, t.Containers[i].spec())
	}
	task.HoldByPause(spec)
	begun := slices.ContainsFunc(t.Containers, func(c savedContainer) bool { return c.id() != "" })
	if !begun {
		return task.Record{Spec: spec, State: task.RejectedState(spec, reasonNotStarted, now)}
	}
	st := task.NewState(spec, task.Running, now)
	for i := range t.Containers {
		c, to := &t.Containers[i], &st.Containers[i]
		to.DockerName, to.RuntimeID, to.EndpointID = c.dockerName, c.id(), c.EndpointID.is
		to.ImageID, to.ImageDigest, to.CreateTried = c.ImageID.is, c.ImageDigest.is, to.RuntimeID != ""
		if to.RuntimeID == "" {
			// It is not known how to make it. The task ends if it cannot do without.
			to.Known, to.Desired = task.ContainerStopped, task.ContainerStopped
			to.Error = &task.Error{Name: "TaskStateError", Message: reasonNotStarted}
			continue
		}
		// What Docker shows decides; one that is gone is not made again.
		to.Known = spec.Containers[i].SteadyStatus()
		if spec.Containers[i].Type == task.CNIPause {
			to.LocalAddress, _, _ = strings.Cut(t.LocalIPAddress.is, "/")
		}
	}
	return task.Record{Spec: spec, State: st}
}

func (c *savedContainer) id() string {
	if c.dockerID != "" {
		return c.dockerID
	}
	return c.RuntimeID.is
}

func (c *savedContainer) spec() task.Container {
	out := task.Container{
		Name: c.Name, ARN: c.ARN.is, Type: task.TypeOf(c.Name), Image: c.Image.is, Essential: c.Essential.is,
		CPU: c.CPU.is, Memory: c.Memory.is, Links: c.Links.is, HealthCheckType: c.Health.is, GPUs: c.GPUs.is,
	}
	for _, d := range c.DependsOn.is {
		switch on := (task.Dependency{Container: d.ContainerName, Condition: task.Condition(d.Condition)}); on.Condition {
		case task.DependsStart, task.DependsComplete, task.DependsSuccess, task.DependsHealthy:
			out.DependsOn = append(out.DependsOn, on)
		case task.DependsCreate:
		}
	}
	return out
}
