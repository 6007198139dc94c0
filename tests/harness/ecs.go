package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"ecsagent/controlplane/local/client"
)

// Region is the region in which everything here pretends to be.
const Region = "us-west-2"

// ECS is a user of the ECS API.
type ECS struct {
	*client.Client
	Cluster string
	// Network is the network configuration of tasks that Run starts; nil: they have none.
	Network map[string]any
	// ExecuteCommand has Run ask for ECS Exec.
	ExecuteCommand bool
	// Volumes are the volumes that Run configures; nil: none.
	Volumes []map[string]any

	mu  sync.Mutex
	ran []string // ARNs of the tasks that Run started
}

// NewECS returns a client for an endpoint such as http://127.0.0.1:4580.
func NewECS(endpoint, cluster string) *ECS {
	return &ECS{Client: client.New(endpoint, Region), Cluster: cluster}
}

// Task is what DescribeTasks tells, as far as it is looked at here.
type Task struct {
	TaskARN              string       `json:"taskArn"`
	ContainerInstanceARN string       `json:"containerInstanceArn"`
	TaskDefinitionARN    string       `json:"taskDefinitionArn"`
	LastStatus           string       `json:"lastStatus"`
	DesiredStatus        string       `json:"desiredStatus"`
	HealthStatus         string       `json:"healthStatus"`
	StopCode             string       `json:"stopCode"`
	StoppedReason        string       `json:"stoppedReason"`
	Containers           []Container  `json:"containers"`
	Attachments          []Attachment `json:"attachments"`
	CreatedAt            Time         `json:"createdAt"`
	PullStartedAt        Time         `json:"pullStartedAt"`
	PullStoppedAt        Time         `json:"pullStoppedAt"`
	StartedAt            Time         `json:"startedAt"`
	StoppingAt           Time         `json:"stoppingAt"`
	StoppedAt            Time         `json:"stoppedAt"`
	ExecutionStoppedAt   Time         `json:"executionStoppedAt"`
}

// Attachment is the network interface or the volume of a Task.
type Attachment struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Details []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"details"`
}

// Detail returns a detail of the attachment by its name; empty if there is none.
func (a Attachment) Detail(name string) string {
	for _, d := range a.Details {
		if d.Name == name {
			return d.Value
		}
	}
	return ""
}

// Interface returns the address and the MAC address of the task's network interface.
func (t Task) Interface() (address, mac string) {
	for _, a := range t.Attachments {
		for _, d := range a.Details {
			switch d.Name {
			case "privateIPv4Address":
				address = d.Value
			case "macAddress":
				mac = d.Value
			}
		}
	}
	return address, mac
}

// Container is a container of a Task.
type Container struct {
	Name            string    `json:"name"`
	Image           string    `json:"image"`
	ImageDigest     string    `json:"imageDigest"`
	RuntimeID       string    `json:"runtimeId"`
	ContainerARN    string    `json:"containerArn"`
	LastStatus      string    `json:"lastStatus"`
	ExitCode        *int      `json:"exitCode"`
	Reason          string    `json:"reason"`
	HealthStatus    string    `json:"healthStatus"`
	NetworkBindings []Binding `json:"networkBindings"`
	ManagedAgents   []struct {
		Name       string `json:"name"`
		LastStatus string `json:"lastStatus"`
		Reason     string `json:"reason"`
	} `json:"managedAgents"`
	Interfaces []struct {
		IPv4 string `json:"privateIpv4Address"`
		IPv6 string `json:"ipv6Address"`
	} `json:"networkInterfaces"`
}

// Binding is a published port of a Container.
type Binding struct {
	BindIP             string `json:"bindIP"`
	ContainerPort      int    `json:"containerPort"`
	HostPort           int    `json:"hostPort"`
	Protocol           string `json:"protocol"`
	ContainerPortRange string `json:"containerPortRange"`
	HostPortRange      string `json:"hostPortRange"`
}

// Container returns the container of a name; its zero value if there is none.
func (t Task) Container(name string) Container {
	for _, c := range t.Containers {
		if c.Name == name {
			return c
		}
	}
	return Container{}
}

// Time is a moment as the API writes it, in seconds.
type Time struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return fmt.Errorf("decode time %s: %w", b, err)
	}
	t.Time = time.UnixMilli(int64(seconds * 1000))
	return nil
}

// Failure is why a task could not be placed.
type Failure struct {
	ARN    string `json:"arn"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Register registers a task definition and returns its ARN.
func (e *ECS) Register(ctx context.Context, definition any) (string, error) {
	var out struct {
		TaskDefinition struct {
			ARN string `json:"taskDefinitionArn"`
		} `json:"taskDefinition"`
	}
	err := e.Call(ctx, "RegisterTaskDefinition", definition, &out)
	return out.TaskDefinition.ARN, err
}

// Run starts count tasks, at most ten.
func (e *ECS) Run(ctx context.Context, definitionARN string, count int) ([]Task, []Failure, error) {
	var out struct {
		Tasks    []Task    `json:"tasks"`
		Failures []Failure `json:"failures"`
	}
	request := map[string]any{"cluster": e.Cluster, "taskDefinition": definitionARN, "count": count}
	if e.Network != nil {
		request["networkConfiguration"] = e.Network
	}
	if e.Volumes != nil {
		request["volumeConfigurations"] = e.Volumes
	}
	if e.ExecuteCommand {
		request["enableExecuteCommand"] = true
	}
	err := e.Call(ctx, "RunTask", request, &out)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range out.Tasks {
		e.ran = append(e.ran, t.TaskARN)
	}
	return out.Tasks, out.Failures, err
}

// Ran lists the ARNs of the tasks that Run started.
func (e *ECS) Ran() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.ran)
}

// Stop asks for a task to be stopped.
func (e *ECS) Stop(ctx context.Context, taskARN, reason string) error {
	return e.Call(ctx, "StopTask", map[string]any{"cluster": e.Cluster, "task": taskARN, "reason": reason}, nil)
}

// Describe returns one task.
func (e *ECS) Describe(ctx context.Context, taskARN string) (Task, error) {
	var out struct {
		Tasks    []Task    `json:"tasks"`
		Failures []Failure `json:"failures"`
	}
	if err := e.Call(ctx, "DescribeTasks", map[string]any{"cluster": e.Cluster, "tasks": []string{taskARN}}, &out); err != nil {
		return Task{}, err
	}
	if len(out.Tasks) != 1 {
		return Task{}, fmt.Errorf("describe %s: %d tasks, failures %v", taskARN, len(out.Tasks), out.Failures)
	}
	return out.Tasks[0], nil
}

// Await waits until a task satisfies ok and returns it as it then was. When the
// context ends first it returns the task as it last was.
func (e *ECS) Await(ctx context.Context, taskARN, what string, ok func(Task) bool) (Task, error) {
	var task Task
	err := Poll(ctx, what, func(ctx context.Context) (bool, error) {
		t, err := e.Describe(ctx, taskARN)
		if err != nil {
			return false, err
		}
		task = t
		return ok(t), nil
	})
	return task, err
}

// AwaitStatus waits until a task's last status is one of those given.
func (e *ECS) AwaitStatus(ctx context.Context, taskARN string, statuses ...string) (Task, error) {
	return e.Await(ctx, taskARN, fmt.Sprintf("%s to be %v", taskARN, statuses), func(t Task) bool {
		for _, s := range statuses {
			if t.LastStatus == s {
				return true
			}
		}
		return false
	})
}

// Instance is a container instance.
type Instance struct {
	ARN            string `json:"containerInstanceArn"`
	Status         string `json:"status"`
	AgentConnected bool   `json:"agentConnected"`
	RunningTasks   int    `json:"runningTasksCount"`
	PendingTasks   int    `json:"pendingTasksCount"`
	Attributes     []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"attributes"`
}

// Instances returns the cluster's container instances.
func (e *ECS) Instances(ctx context.Context) ([]Instance, error) {
	var list struct {
		ARNs []string `json:"containerInstanceArns"`
	}
	if err := e.Call(ctx, "ListContainerInstances", map[string]any{"cluster": e.Cluster}, &list); err != nil {
		return nil, err
	}
	if len(list.ARNs) == 0 {
		return nil, nil
	}
	var out struct {
		Instances []Instance `json:"containerInstances"`
	}
	err := e.Call(ctx, "DescribeContainerInstances", map[string]any{"cluster": e.Cluster, "containerInstances": list.ARNs}, &out)
	return out.Instances, err
}
