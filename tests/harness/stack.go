package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	docker "github.com/docker/docker/client"
)

// Options says what a Stack runs and with what.
type Options struct {
	Programs   string // folder of ecs-agent and ecs-local
	Dir        string // everything the programs write goes below it
	DockerHost string // the engine for the agent
	Cluster    string // "" means default, which the agent makes
	LocalPort  int    // 0 means a free one
	// Endpoint is the ECS API for the agent: host:port; "" means ecs-local itself.
	Endpoint string
	// Agent are further environment variables of the agent. They come last.
	Agent []string
	// Program starts the agent, with its arguments; none: it is the agent.
	Program []string
	// Local are further arguments of ecs-local up.
	Local []string
	// Socket is a listening socket that the agent is given for its task endpoint, as a
	// service manager does.
	Socket *os.File
	// Space is the path of a network namespace in which the agent runs; empty: this one.
	Space string
	// Inside is a command line in whose place the agent runs, such as nsenter's.
	Inside []string
	// Keep makes ecs-local keep its state in a folder.
	Keep bool
	// LocalArgs are further arguments of ecs-local.
	LocalArgs []string
	// Services is a folder from which ecs-local serves other services of AWS; empty: it
	// does not.
	Services string
}

// Stack is a control plane and an agent.
type Stack struct {
	Options
	ECS   *ECS
	Local *Process
	Agent *Process

	LocalAddress  string
	Introspection string // host:port of the agent
	TaskEndpoint  string // host:port of the agent
	memory        string // a folder in memory, for what outlives the agent
}

// PauseArchive is the archive of the pause image beside the programs.
const PauseArchive = "amazon-ecs-pause.tar"

// NewStack chooses ports and makes folders; nothing runs yet.
func NewStack(o Options) (*Stack, error) {
	s := &Stack{Options: o}
	for _, name := range []string{"data", "local", "run", "log"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, name), 0o700); err != nil {
			return nil, fmt.Errorf("make a folder of the stack: %w", err)
		}
	}
	// Files of its own, so that those of the host do not count.
	settings, err := json.Marshal(map[string]string{"PauseContainerTarballPath": filepath.Join(o.Programs, PauseArchive)})
	if err != nil {
		return nil, fmt.Errorf("write a configuration file of the stack: %w", err)
	}
	for name, content := range map[string]string{"ecs.config": "", "instance.config": "", "ecs.config.json": string(settings)} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("write a configuration file of the stack: %w", err)
		}
	}
	s.memory = "off"
	if dir, err := os.MkdirTemp("/dev/shm", "ecsagent-"); err == nil {
		s.memory = dir
	}
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	if o.LocalPort != 0 {
		ports[0] = o.LocalPort
	}
	s.LocalAddress = fmt.Sprintf("127.0.0.1:%d", ports[0])
	s.Introspection = fmt.Sprintf("127.0.0.1:%d", ports[1])
	s.TaskEndpoint = fmt.Sprintf("127.0.0.1:%d", ports[2])
	s.ECS = NewECS("http://"+s.LocalAddress, o.Cluster)
	return s, nil
}

// Ports of stacks lie below those that the kernel hands out, in blocks: a process keeps one
// for itself by listening on its first port. Were they handed out by the kernel, the proxy
// before a program could get the program's, before that listens, and be its own upstream.
const (
	firstPort, portBlocks = 10000, 150
	portBlock             = 100
)

var ports struct {
	sync.Mutex
	block net.Listener // whose ports are those behind its own
	next  int
}

// FreePorts finds ports on 127.0.0.1 that nobody listens on.
func FreePorts(n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	for try := 0; ports.block == nil; try++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+portBlock*((os.Getpid()+try)%portBlocks)))
		if err != nil && try == portBlocks {
			return nil, fmt.Errorf("find free ports from %d on: %w", firstPort, err)
		}
		if err == nil {
			ports.block = l
		}
	}
	first := ports.block.Addr().(*net.TCPAddr).Port
	var found []int
	for tries := 0; len(found) < n; tries++ {
		ports.next = ports.next%(portBlock-1) + 1
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+ports.next))
		if err != nil {
			if tries == 2*portBlock {
				return nil, fmt.Errorf("find a free port behind %d: %w", first, err)
			}
			continue
		}
		_ = l.Close() // nothing was written
		found = append(found, first+ports.next)
	}
	return found, nil
}

// StartLocal starts ecs-local and waits until it answers.
func (s *Stack) StartLocal(ctx context.Context) error {
	args := []string{"up", "--foreground", "--listen", s.LocalAddress, "--region", Region}
	args = append(args, s.Options.Local...)
	if s.Keep {
		args = append(args, "--data-dir", filepath.Join(s.Dir, "local"))
	}
	if s.Services != "" {
		args = append(args, "--services", s.Services)
	}
	args = append(args, s.LocalArgs...)
	p, err := StartProcess("ecs-local", filepath.Join(s.Dir, "log", "ecs-local.log"), filepath.Join(s.Programs, "ecs-local"), args,
		[]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir})
	if err != nil {
		return err
	}
	s.Local = p
	err = s.ready(ctx, p, "the local ECS to answer", func(ctx context.Context) (bool, error) {
		return true, s.ECS.Call(ctx, "ListClusters", map[string]any{}, nil)
	})
	if err != nil || s.Cluster == "" {
		return err
	}
	if err := s.ECS.Call(ctx, "CreateCluster", map[string]any{"clusterName": s.Cluster}, nil); err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	return nil
}

// ready polls, but gives up when the process ends.
func (s *Stack) ready(ctx context.Context, p *Process, what string, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := Poll(ctx, what, func(ctx context.Context) (bool, error) {
		if !p.Running() {
			cancel()
			return false, fmt.Errorf("%s ended with exit code %d", p.Name, p.ExitCode())
		}
		yes, err := ok(ctx)
		return yes && err == nil, err
	})
	if err != nil {
		return fmt.Errorf("%w\n--- last lines of %s\n%s", err, p.Log, p.Tail(20))
	}
	return nil
}

// AgentEnvironment is the whole environment of the agent.
func (s *Stack) AgentEnvironment() []string {
	endpoint := s.Endpoint
	if endpoint == "" {
		endpoint = s.LocalAddress
	}
	in := func(name string) string { return filepath.Join(s.Dir, name) }
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir,
		"AWS_DEFAULT_REGION=" + Region,
		"AWS_ACCESS_KEY_ID=AKIDLOCAL", "AWS_SECRET_ACCESS_KEY=local",
		"ECS_EXTERNAL=true",
		"ECS_HOST_RULES=none", // tests answer for the way to the task endpoint
		"ECS_BACKEND_HOST=http://" + endpoint,
		"ECS_DATADIR=" + in("data"),
		"ECS_LOGFILE=" + in("log/ecs-agent.log"),
		"ECS_AUDIT_LOGFILE=" + in("log/audit.log"),
		"ECS_CONFIG_FILE=" + in("ecs.config"),
		"ECS_INSTANCE_CONFIG_FILE=" + in("instance.config"),
		"ECS_AGENT_CONFIG_FILE_PATH=" + in("ecs.config.json"),
		"ECS_RUN_DIR=" + in("run"), "ECS_TASK_LOG_DIR=" + in("log/tasks"),
		"ECS_INTROSPECTION_ADDRESS=" + s.Introspection,
		"ECS_TASK_ENDPOINT_ADDRESS=" + s.TaskEndpoint, "ECS_CREDENTIALS_DIR=" + s.memory,
		"DOCKER_HOST=" + s.DockerHost,
	}
	if s.Cluster != "" {
		env = append(env, "ECS_CLUSTER="+s.Cluster)
	}
	if s.Services != "" {
		for _, service := range []string{"SSM", "SECRETS_MANAGER", "S3", "ECR"} {
			env = append(env, "AWS_ENDPOINT_URL_"+service+"=http://"+s.LocalAddress)
		}
	}
	return append(env, s.Options.Agent...)
}

// StartAgent starts the agent without waiting for it.
func (s *Stack) StartAgent() error {
	log, program, env := filepath.Join(s.Dir, "log", "ecs-agent.out"), filepath.Join(s.Programs, "ecs-agent"), s.AgentEnvironment()
	start := func() (*Process, error) { return StartProcess("ecs-agent", log, program, nil, env) }
	if len(s.Program) > 0 {
		start = func() (*Process, error) { return StartProcess("ecs-agent", log, s.Program[0], s.Program[1:], env) }
	}
	if s.Space != "" {
		// nsenter becomes the agent, so its process id is the agent's.
		start = func() (*Process, error) {
			return StartProcess("ecs-agent", log, "nsenter", []string{"--net=" + s.Space, program}, env)
		}
	}
	if len(s.Inside) > 0 {
		start = func() (*Process, error) {
			line := append(slices.Clone(s.Inside), program)
			return StartProcess("ecs-agent", log, line[0], line[1:], env)
		}
	}
	if s.Socket != nil {
		// The shell becomes the agent, so its process id is the agent's.
		start = func() (*Process, error) {
			env = append(env, "LISTEN_FDS=1", "LISTEN_FDNAMES=ecs-task-endpoint")
			return StartWithFiles("ecs-agent", log, "/bin/sh", []string{"-c", `LISTEN_PID=$$ exec "$0"`, program}, env, s.Socket)
		}
	}
	p, err := start()
	if err != nil {
		return err
	}
	s.Agent = p
	return nil
}

// AwaitAgent waits until the agent is registered and connected, and returns its
// container instance.
func (s *Stack) AwaitAgent(ctx context.Context) (Instance, error) {
	var instance Instance
	err := s.ready(ctx, s.Agent, "the agent to connect", func(ctx context.Context) (bool, error) {
		all, err := s.ECS.Instances(ctx)
		if err != nil {
			return false, err
		}
		for _, i := range all {
			if i.AgentConnected {
				instance = i
				return true, nil
			}
		}
		return false, fmt.Errorf("%d container instances, none connected", len(all))
	})
	return instance, err
}

// Start starts both programs and waits until the agent is connected.
func (s *Stack) Start(ctx context.Context) error {
	if err := s.StartLocal(ctx); err != nil {
		return err
	}
	if err := s.StartAgent(); err != nil {
		return err
	}
	_, err := s.AwaitAgent(ctx)
	return err
}

// Introspect returns a page of the agent's introspection server.
func (s *Stack) Introspect(ctx context.Context, path string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Introspection+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the agent for %s: %w", path, err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the agent for %s: %w", path, err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	return reply.StatusCode, body, err
}

// AgentLog is the agent's log file.
func (s *Stack) AgentLog() string {
	file := filepath.Join(s.Dir, "log", "ecs-agent.log")
	if info, err := os.Stat(file); err == nil && info.Size() > 0 {
		return file
	}
	return filepath.Join(s.Dir, "log", "ecs-agent.out")
}

// Close ends the programs and removes the containers, volumes and cgroups that the
// agent made.
// The folder stays.
func (s *Stack) Close(ctx context.Context) error {
	var errs []error
	for _, p := range []*Process{s.Agent, s.Local} {
		if p != nil && p.Running() {
			_, err := p.Stop(30 * time.Second)
			errs = append(errs, err)
		}
	}
	s.ECS.Close()
	if s.memory != "off" {
		errs = append(errs, os.RemoveAll(s.memory))
	}
	return errors.Join(append(errs, s.removeContainers(ctx))...)
}

// Labels of task containers (docs/spec/02 section 4.11).
const (
	LabelTaskARN   = "com.amazonaws.ecs.task-arn"
	LabelContainer = "com.amazonaws.ecs.container-name"
)

// Containers returns the task containers of this stack's cluster, stopped ones too.
func (s *Stack) Containers(ctx context.Context, cli *docker.Client) ([]container.Summary, error) {
	list, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", LabelTaskARN))})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	cluster := s.Cluster
	if cluster == "" {
		cluster = "default"
	}
	return slices.DeleteFunc(list, func(c container.Summary) bool {
		return !strings.Contains(c.Labels[LabelTaskARN], "/"+cluster+"/")
	}), nil
}

func (s *Stack) removeContainers(ctx context.Context) error {
	cli, err := docker.NewClientWithOpts(docker.WithHost(s.DockerHost), docker.WithAPIVersionNegotiation())
	if err != nil {
		return fmt.Errorf("make a Docker client: %w", err)
	}
	defer cli.Close()
	list, err := s.Containers(ctx, cli)
	if err != nil {
		return err
	}
	var errs []error
	tasks := s.ECS.Ran()
	for _, c := range list {
		tasks = append(tasks, c.Labels[LabelTaskARN])
		if err := cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove container %s: %w", c.ID, err))
		}
	}
	removeCgroups(tasks)
	return errors.Join(errs...)
}
