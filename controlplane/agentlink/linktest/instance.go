package linktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
)

// Script says how an Instance plays its tasks. The zero value runs every container
// until ECS stops the task.
type Script struct {
	Cluster    string            // "default"
	CPU        int               // 4096
	Memory     int               // 8192
	Attributes []api.Attribute   // besides those in DefaultAttributes
	RuntimeID  map[string]string // by container name; otherwise made up
	HostPort   int               // of the first dynamic port, counting up; 49153
	// ExitCode, when it returns true, ends the container at once with that code.
	ExitCode func(container string) (int, bool)
	// FailStart, when not empty, stops the task before it runs, for that reason.
	FailStart func(container string) string
	// IgnoreStop keeps tasks running whatever ECS says.
	IgnoreStop bool
}

// DefaultAttributes are what an Instance registers.
var DefaultAttributes = []api.Attribute{
	{Name: "ecs.capability.full-sync"}, {Name: "ecs.capability.container-ordering"}, {Name: "ecs.capability.network.container-port-range"},
	{Name: "ecs.capability.container-health-check"}, {Name: "ecs.capability.execution-role-ecr-pull"}, {Name: "ecs.capability.task-cpu-mem-limit"},
	{Name: "com.amazonaws.ecs.capability.logging-driver.json-file"}, {Name: "com.amazonaws.ecs.capability.logging-driver.none"},
	{Name: "com.amazonaws.ecs.capability.docker-remote-api.1.17"}, {Name: "com.amazonaws.ecs.capability.docker-remote-api.1.18"},
	{Name: "com.amazonaws.ecs.capability.docker-remote-api.1.19"}, {Name: "com.amazonaws.ecs.capability.docker-remote-api.1.21"},
	{Name: "com.amazonaws.ecs.capability.docker-remote-api.1.24"}, {Name: "com.amazonaws.ecs.capability.docker-remote-api.1.25"},
	{Name: "com.amazonaws.ecs.capability.docker-remote-api.1.29"}, {Name: "com.amazonaws.ecs.capability.docker-remote-api.1.30"},
	{Name: "com.amazonaws.ecs.capability.docker-remote-api.1.32"}, {Name: "com.amazonaws.ecs.capability.ecr-auth"},
	{Name: "com.amazonaws.ecs.capability.task-iam-role"}, {Name: "com.amazonaws.ecs.capability.privileged-container"},
	{Name: "ecs.capability.docker-plugin.local"}, {Name: "ecs.os-type", Value: "linux"}, {Name: "ecs.os-family", Value: "LINUX"},
}

// Instance is a scripted container instance: it registers, connects to ACS, acks
// what it is sent and reports the states that its script says.
type Instance struct {
	ARN    string
	script Script
	api    *client.Client
	conn   *Conn
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed

	mu       sync.Mutex
	statuses map[string]string // last reported, by task ARN
	nextPort int
}

// StartInstance registers with the ECS API at endpoint and connects. Stop ends it.
func StartInstance(ctx context.Context, endpoint string, script Script) (*Instance, error) {
	script.Cluster = or(script.Cluster, "default")
	i := &Instance{script: script, api: client.New(endpoint, "us-west-2"), done: make(chan struct{}),
		statuses: make(map[string]string), nextPort: script.HostPort}
	if i.nextPort == 0 {
		i.nextPort = 49153
	}
	poll, err := i.register(ctx)
	if err != nil {
		return nil, err
	}
	i.conn, err = Dial{BaseURL: poll.Endpoint, InstanceARN: i.ARN, Cluster: script.Cluster, SendCredentials: true}.ACS(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to ACS: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	i.cancel = cancel
	go func() {
		defer close(i.done)
		i.err = i.run(run)
	}()
	return i, nil
}

func (i *Instance) register(ctx context.Context) (*api.DiscoverPollEndpointResponse, error) {
	cpu, memory := i.script.CPU, i.script.Memory
	if cpu == 0 {
		cpu = 4096
	}
	if memory == 0 {
		memory = 8192
	}
	if i.script.Cluster == "default" { // made if missing, as an agent does
		if err := i.api.Call(ctx, "CreateCluster", api.CreateClusterRequest{ClusterName: "default"}, nil); err != nil {
			return nil, err
		}
	}
	var out api.ContainerInstanceResponse
	err := i.api.Call(ctx, "RegisterContainerInstance", api.RegisterContainerInstanceRequest{
		Cluster: i.script.Cluster,
		TotalResources: []api.Resource{
			{Name: "CPU", Type: "INTEGER", IntegerValue: cpu}, {Name: "MEMORY", Type: "INTEGER", IntegerValue: memory},
			{Name: "PORTS", Type: "STRINGSET", StringSetValue: []string{"22", "2375", "2376", "51678", "51679"}},
			{Name: "PORTS_UDP", Type: "STRINGSET", StringSetValue: []string{}},
		},
		Attributes: append(append([]api.Attribute{}, DefaultAttributes...), i.script.Attributes...),
	}, &out)
	if err != nil {
		return nil, err
	}
	i.ARN = out.ContainerInstance.ContainerInstanceARN
	var poll api.DiscoverPollEndpointResponse
	err = i.api.Call(ctx, "DiscoverPollEndpoint", api.DiscoverPollEndpointRequest{ContainerInstance: i.ARN, Cluster: i.script.Cluster}, &poll)
	return &poll, err
}

// Stop cuts the connection and waits. The error is what went wrong before.
func (i *Instance) Stop() error {
	i.cancel()
	<-i.done
	i.conn.Close()
	i.api.Close()
	if errors.Is(i.err, context.Canceled) {
		return nil
	}
	return i.err
}

// Done is closed when the instance has ended, by Stop or since its connection did.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Status returns the status last reported for a task; empty for none.
func (i *Instance) Status(taskARN string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.statuses[taskARN]
}

type scriptedTask struct {
	ARN           string `json:"arn"`
	DesiredStatus string `json:"desiredStatus"`
	Containers    []struct {
		Name         string `json:"name"`
		Essential    bool   `json:"essential"`
		PortMappings []struct {
			ContainerPort int    `json:"containerPort"`
			HostPort      int    `json:"hostPort"`
			Protocol      string `json:"protocol"`
		} `json:"portMappings"`
	} `json:"containers"`
}

func (i *Instance) run(ctx context.Context) error {
	for {
		m, err := i.conn.Next(ctx)
		if err != nil {
			return err
		}
		switch m.Type {
		case "HeartbeatMessage", "TaskManifestMessage", "IAMRoleCredentialsMessage":
			err = i.conn.Ack(m)
		case "PayloadMessage":
			err = i.payload(ctx, m)
		}
		if err != nil {
			return err
		}
	}
}

func (i *Instance) payload(ctx context.Context, m Message) error {
	var body struct {
		Tasks []scriptedTask `json:"tasks"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return fmt.Errorf("read payload: %w", err)
	}
	if err := i.conn.Ack(m); err != nil {
		return err
	}
	for _, t := range body.Tasks {
		if err := i.play(ctx, &t); err != nil {
			return err
		}
	}
	return nil
}

// play drives one task as far as its desired status and the script say.
func (i *Instance) play(ctx context.Context, t *scriptedTask) error {
	known := i.Status(t.ARN)
	switch {
	case known == "STOPPED", t.DesiredStatus == "STOPPED" && i.script.IgnoreStop, known != "" && t.DesiredStatus != "STOPPED":
		return nil
	case t.DesiredStatus == "STOPPED":
		return i.submit(ctx, t, "STOPPED", func(string) api.ContainerStateChange {
			code := 137
			return api.ContainerStateChange{ExitCode: &code}
		})
	}
	if err := i.submit(ctx, t, "PENDING", func(string) api.ContainerStateChange {
		return api.ContainerStateChange{ImageDigest: "sha256:" + strings.Repeat("ab", 32)}
	}); err != nil {
		return err
	}
	if i.script.FailStart != nil {
		for _, c := range t.Containers {
			if reason := i.script.FailStart(c.Name); reason != "" {
				return i.submit(ctx, t, "STOPPED", func(name string) api.ContainerStateChange {
					if name == c.Name {
						return api.ContainerStateChange{Reason: reason}
					}
					return api.ContainerStateChange{}
				})
			}
		}
	}
	if err := i.submit(ctx, t, "RUNNING", nil); err != nil {
		return err
	}
	return i.exit(ctx, t)
}

// exit stops a task whose script ends an essential container.
func (i *Instance) exit(ctx context.Context, t *scriptedTask) error {
	if i.script.ExitCode == nil {
		return nil
	}
	ends := false
	for _, c := range t.Containers {
		if _, ok := i.script.ExitCode(c.Name); ok && c.Essential {
			ends = true
		}
	}
	if !ends {
		return nil
	}
	return i.submit(ctx, t, "STOPPED", func(name string) api.ContainerStateChange {
		code, ok := i.script.ExitCode(name)
		if !ok {
			code = 143
		}
		return api.ContainerStateChange{ExitCode: &code}
	})
}

// submit reports one status for the task and all its containers.
func (i *Instance) submit(ctx context.Context, t *scriptedTask, status string, each func(name string) api.ContainerStateChange) error {
	req := api.SubmitTaskStateChangeRequest{Cluster: i.script.Cluster, Task: t.ARN, Status: status}
	for _, c := range t.Containers {
		var change api.ContainerStateChange
		if each != nil {
			change = each(c.Name)
		}
		change.ContainerName, change.Status = c.Name, status
		if status != "PENDING" {
			change.RuntimeID = or(i.script.RuntimeID[c.Name], "rt-"+client.Base(t.ARN)+"-"+c.Name)
		}
		if status == "RUNNING" {
			for _, p := range c.PortMappings {
				host := p.HostPort
				if host == 0 {
					host = i.port()
				}
				change.NetworkBindings = append(change.NetworkBindings, api.NetworkBinding{
					BindIP: "0.0.0.0", ContainerPort: p.ContainerPort, HostPort: host, Protocol: or(p.Protocol, "tcp"),
				})
			}
		}
		req.Containers = append(req.Containers, change)
	}
	if status == "STOPPED" {
		req.ExecutionStoppedAt = api.At(time.Now())
	}
	i.mu.Lock()
	i.statuses[t.ARN] = status
	i.mu.Unlock()
	return i.api.Call(ctx, "SubmitTaskStateChange", req, nil)
}

func (i *Instance) port() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.nextPort
	i.nextPort++
	return p
}
