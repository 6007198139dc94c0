// Command bench measures the agent against the floor: a plain Docker client that
// makes the same create, start, inspect and stop calls on the same engine in the same
// run, turn and turn about. `make bench` calls it and prints a table.
//
// The control plane is tests/plane, in this process: a launch is the time from the
// moment before the payload is written to the moment the report of RUNNING has come
// in, so it holds everything between but no work of a control plane.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	docker "github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/harness"
	"ecsagent/tests/image"
	"ecsagent/tests/plane"
	"ecsagent/tests/proxy"
	"ecsagent/tests/registry"
)

type settings struct {
	programs string
	rounds   int
	idle     time.Duration
	tasks    counts
	only     string
}

// counts are numbers of tasks.
type counts []int

// String implements flag.Value.
func (c *counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*c), " ", ","), "[]")
}

// Set implements flag.Value.
func (c *counts) Set(text string) error {
	*c = nil
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("%q: want numbers above 0, such as 1,20,50", word)
		}
		*c = append(*c, n)
	}
	return nil
}

// bench is what all measurements share.
type bench struct {
	settings
	ctx    context.Context
	dir    string
	host   string // of the engine
	docker *docker.Client
	ref    string // of the image
	table  table
}

func main() {
	if role := os.Getenv(bareVariable); role != "" {
		if err := beBare(role); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	flag.StringVar(&s.programs, "programs", "bin", "`folder` of ecs-agent")
	flag.IntVar(&s.rounds, "rounds", 15, "rounds of each measurement of one task; those of many take a third")
	flag.DurationVar(&s.idle, "idle", 20*time.Second, "how long to watch the idle agent")
	s.tasks = counts{1, 20, 50}
	flag.Var(&s.tasks, "tasks", "comma-separated `numbers` of tasks that are started at once")
	flag.StringVar(&s.only, "only", "", "comma-separated `names` of what to measure: binary, start, idle, tasks, plugins, awsvpc, stopping, secrets, calls, endpoint, usage, restart")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// beBare is a process that others are measured against.
func beBare(role string) error {
	if role != bareClient {
		return serveBare()
	}
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	b := &bench{ctx: context.Background(), host: os.Getenv("DOCKER_HOST"), ref: os.Args[1]}
	return b.beClient(rounds)
}

func run(ctx context.Context, s settings) (err error) {
	b := &bench{settings: s, ctx: ctx, host: os.Getenv("DOCKER_HOST")}
	if b.host == "" {
		return errors.New("DOCKER_HOST is not set: use make bench")
	}
	if b.docker, err = docker.NewClientWithOpts(docker.WithHost(b.host), docker.WithAPIVersionNegotiation()); err != nil {
		return err
	}
	defer b.docker.Close()
	if b.dir, err = os.MkdirTemp("", "ecs-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	server, err := b.pushImage()
	if err != nil {
		return err
	}
	defer server.Kill()
	for _, step := range []struct {
		name string
		do   func() error
	}{{"", b.environment}, {"binary", b.binary}, {"start", b.startUp}, {"idle", b.idleAgent}, {"tasks", b.oneAndMany}, {"plugins", b.plugins}, {"awsvpc", b.awsvpc}, {"stopping", b.beside}, {"secrets", b.secrets}, {"calls", b.calls}, {"endpoint", b.endpoint}, {"usage", b.usage}, {"restart", b.restart}} {
		if s.only != "" && step.name != "" && !slices.Contains(strings.Split(s.only, ","), step.name) {
			continue
		}
		if err = step.do(); err != nil {
			break // what was measured until then is worth its print
		}
	}
	b.table.print(os.Stdout)
	return err
}

// pushImage puts an image into a registry on loopback and into the engine. It ends at
// once when it is stopped, so that a stop measures the engine and not the program.
func (b *bench) pushImage() (*registry.Server, error) {
	server, err := registry.Start()
	if err != nil {
		return nil, err
	}
	img, err := image.Busybox(v1.Config{Cmd: []string{"sleep", "86400"}, StopSignal: "SIGKILL"})
	if err == nil {
		b.ref, _, err = server.Push(b.ctx, "bench:1", img)
	}
	if err == nil {
		err = b.pull()
	}
	if err != nil {
		server.Kill()
		return nil, err
	}
	return server, nil
}

// rig is an agent with a scripted control plane.
type rig struct {
	*harness.Stack
	*plane.Plane
	counter *proxy.Docker             // nil when calls are not counted
	edit    func(task map[string]any) // of each task that is delivered; nil: none
}

// newRig prepares an agent; counted puts a counting proxy before the engine.
func (b *bench) newRig(counted bool) (*rig, error) {
	p, err := plane.Start("bench")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "rig-")
	if err != nil {
		return nil, err
	}
	r := &rig{Plane: p}
	host := b.host
	if counted {
		if r.counter, err = proxy.NewDocker(filepath.Join(dir, "d.sock"), b.host); err != nil {
			return nil, err
		}
		host = r.counter.Host()
	}
	r.Stack, err = harness.NewStack(harness.Options{
		Programs: b.programs, Dir: dir, DockerHost: host, Endpoint: p.Address(), Cluster: p.Cluster(),
		// The image is there: no registry in the measurement, in neither column.
		Agent: []string{"ECS_IMAGE_PULL_BEHAVIOR=prefer-cached"},
	})
	return r, err
}

// start starts the agent and waits until it is registered and connected.
func (r *rig) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := r.StartAgent(); err != nil {
		return err
	}
	if err := r.AwaitACS(ctx, 1); err != nil {
		return fmt.Errorf("%w\n%s", err, harness.Tail(r.AgentLog(), 20))
	}
	return nil
}

func (r *rig) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := r.Stack.Close(ctx)
	r.Plane.Close()
	if r.counter != nil {
		r.counter.Close()
	}
	return err
}
