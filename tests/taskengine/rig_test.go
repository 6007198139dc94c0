package taskengine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	dockerclient "github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine"
	"ecsagent/agent/engine/enginetest"
	"ecsagent/agent/hostport"
	agentimage "ecsagent/agent/image"
	"ecsagent/agent/runtime"
	agentdocker "ecsagent/agent/runtime/docker"
	"ecsagent/agent/task"
	"ecsagent/tests/harness"
	testimage "ecsagent/tests/image"
	"ecsagent/tests/proxy"
	"ecsagent/tests/registry"
)

// shared is what all tests use.
var shared struct {
	host     string
	docker   *dockerclient.Client // to the engine itself, past every proxy
	registry *registry.Server
	tools    string // reference of an image with a shell
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "set up the tests of the task engine:", err)
			return 1
		}
		if shared.registry != nil {
			defer shared.registry.Kill()
		}
		return m.Run()
	}())
}

func prepare() (err error) {
	if shared.host = os.Getenv("ECS_TEST_DOCKER_HOST"); shared.host == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if shared.docker, err = dockerclient.NewClientWithOpts(dockerclient.WithHost(shared.host), dockerclient.WithAPIVersionNegotiation()); err != nil {
		return err
	}
	if shared.registry, err = registry.Start(); err != nil {
		return err
	}
	shared.tools, _, err = push(ctx, "tools:1", v1.Config{Env: []string{"PATH=/bin"}})
	return err
}

// push stores an image with a shell; other configurations make other images.
func push(ctx context.Context, name string, config v1.Config) (ref, digest string, err error) {
	img, err := testimage.Busybox(config)
	if err != nil {
		return "", "", err
	}
	return shared.registry.Push(ctx, name, img)
}

// settings are what a test may ask of its rig.
type settings struct {
	host    string // of the engine; default the shared one
	docker  agentdocker.Timeouts
	limits  agentimage.Limits
	ports   hostport.Options
	dockers dockerspec.Env
	options func(*engine.Options)
	// behavior is for the puller; the options' Pull is for the task engine.
	behavior task.PullBehavior
}

// rig is a task engine behind a proxy. Its parts outlive the task engine: restart makes
// a new one on the same disk and the same Docker.
type rig struct {
	t        *testing.T
	ctx      context.Context
	settings settings
	cluster  string
	dir      string // on the host, for the proxy's socket and what a test needs
	proxy    *proxy.Docker
	store    *enginetest.Store
	ports    *hostport.Allocator

	*engine.Engine // the one that runs
	docker         *agentdocker.Client
	images         *agentimage.Puller
	end            func()

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every observed change
	seen    map[string][]*task.Snapshot
}

// limit is how long a test may take; it is for machines that are slow, not for what is
// tested.
const limit = 5 * time.Minute

// noTrouble is a settings without wishes.
func noTrouble() settings { return settings{} }

func newRig(t *testing.T, s settings) *rig {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	r := &rig{
		t: t, ctx: ctx, settings: s, cluster: "te" + randomHex(),
		store: enginetest.NewStore(), changed: make(chan struct{}), seen: map[string][]*task.Snapshot{},
		ports: hostport.New(s.ports),
	}
	if s.host == "" {
		s.host = shared.host
	}
	var err error
	if r.dir, err = os.MkdirTemp("", "ecs-te-"); err != nil { // t's own is too long for a socket
		t.Fatal(err)
	}
	if r.proxy, err = proxy.NewDocker(filepath.Join(r.dir, "d.sock"), s.host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		r.stop()
		r.proxy.Close()
		r.removeAll()
		_ = os.RemoveAll(r.dir)
	})
	r.start()
	return r
}

// start starts a task engine with what is on disk.
func (r *rig) start() {
	r.t.Helper()
	log := zap.NewNop()
	if testing.Verbose() {
		log = zap.Must(zap.NewDevelopment()).With(zap.String("cluster", r.cluster))
	}
	limits := r.settings.docker
	if limits.ReconnectMin == 0 {
		limits.ReconnectMin, limits.ReconnectMax = 20*time.Millisecond, 200*time.Millisecond
	}
	var err error
	if r.docker, err = agentdocker.New(r.ctx, agentdocker.Options{Host: r.proxy.Host(), Timeouts: limits, Log: log}); err != nil {
		r.t.Fatal(err)
	}
	restored, seq := r.store.Load()
	r.images = agentimage.New(agentimage.Options{Engine: r.docker, Behavior: r.settings.behavior, Limits: r.settings.limits, Log: log})
	env := r.settings.dockers
	env.OS, env.CPUs, env.Cluster = goruntime.GOOS, goruntime.NumCPU(), r.cluster
	o := engine.Options{
		Store: r.store, Reporter: r, Runtime: r.docker, Images: r.images, HostPorts: r.ports,
		Builder: dockerspec.New(env, mathrand.Uint64), Log: log, Restored: restored, Sequence: seq,
		Capacity:    engine.Capacity{CPU: 4096, Memory: 4096, GPUs: []string{"gpu-0", "gpu-1"}, ReservedTCP: []uint16{22}},
		StopTimeout: 2 * time.Second,
	}
	if r.settings.options != nil {
		r.settings.options(&o)
	}
	e, err := engine.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	r.Engine = e
	client, images := r.docker, r.images
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the task engine ended with %v", err)
		}
		images.Close()
		client.Close()
	})
}

// stop ends the task engine; containers stay as they are.
func (r *rig) stop() {
	if r.end != nil {
		r.end()
	}
}

// Observe implements engine.Reporter. ECS accepts everything at once.
func (r *rig) Observe(s *task.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[s.ARN] = append(r.seen[s.ARN], s)
	close(r.changed)
	r.changed = make(chan struct{})
}

// accept tells the task engine that ECS has accepted what was observed of a task.
func (r *rig) accept(spec *task.Spec) {
	r.Sent(spec.ARN, task.Sent{Task: r.state(spec).Known})
}

// spec makes a task of containers.
func (r *rig) spec(containers ...task.Container) *task.Spec {
	mode := "host" // with which the engine has the least to do
	if slices.ContainsFunc(containers, func(c task.Container) bool { return len(c.Ports)+len(c.Links) > 0 }) {
		mode = "bridge"
	}
	for i := range containers {
		if c := &containers[i]; c.DockerHostConfig == "" {
			c.DockerHostConfig = `{"NetworkMode":"` + mode + `"}`
		}
	}
	return &task.Spec{
		ARN:    "arn:aws:ecs:us-west-2:111122223333:task/" + r.cluster + "/" + randomHex() + randomHex(),
		Family: "t", Version: "1", NetworkMode: mode, Containers: containers,
	}
}

// sh is an essential container that runs a script.
func sh(name, script string, edit ...func(*task.Container)) task.Container {
	c := task.Container{
		Name: name, Image: shared.tools, Essential: true, CPU: 1, Memory: 16,
		Command: []string{"sh", "-c", script},
	}
	for _, e := range edit {
		e(&c)
	}
	return c
}

// sleeper runs until it is told to end.
func sleeper(name string, edit ...func(*task.Container)) task.Container {
	return sh(name, "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done", edit...)
}

func nonEssential(c *task.Container) { c.Essential = false }

func after(name string, condition task.Condition) func(*task.Container) {
	return func(c *task.Container) {
		c.DependsOn = append(c.DependsOn, task.Dependency{Container: name, Condition: condition})
	}
}

// run delivers a task that shall run.
func (r *rig) run(spec *task.Spec) {
	r.t.Helper()
	r.deliver(task.Request{Spec: spec, Desired: task.Running})
}

// ask asks for the end of a task.
func (r *rig) ask(spec *task.Spec) {
	r.t.Helper()
	r.deliver(task.Request{Spec: spec, Desired: task.Stopped})
}

func (r *rig) deliver(requests ...task.Request) {
	r.t.Helper()
	if err := r.Deliver(r.ctx, task.Delivery{Tasks: requests}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) state(spec *task.Spec) *task.State {
	r.t.Helper()
	s := r.Snapshot(spec.ARN)
	if s == nil {
		r.t.Fatalf("task %s is not known", spec.ARN)
	}
	return &s.State
}

// await waits until a task is in a state that the reporter heard of, and returns it.
func (r *rig) await(spec *task.Spec, what string, ok func(*task.State) bool) *task.State {
	r.t.Helper()
	for {
		r.mu.Lock()
		changed := r.changed
		var last *task.Snapshot
		for _, s := range r.seen[spec.ARN] {
			last = s
			if ok(&s.State) {
				r.mu.Unlock()
				return &s.State
			}
		}
		r.mu.Unlock()
		select {
		case <-changed:
		case <-r.ctx.Done():
			r.t.Fatalf("no %s of task %s; last seen %s\n%s", what, spec.ID(), pretty(last), r.story(spec))
		}
	}
}

// becomes waits for a status of a task.
func (r *rig) becomes(spec *task.Spec, known task.Status) *task.State {
	r.t.Helper()
	st := r.await(spec, "status "+known.String(), func(st *task.State) bool { return st.Known == known || st.Known == task.Stopped })
	if st.Known != known {
		r.t.Fatalf("the task stopped instead of becoming %s: %s\n%s", known, pretty(st), r.story(spec))
	}
	return st
}

// runs runs a task until it is RUNNING and its processes heed SIGTERM.
func (r *rig) runs(spec *task.Spec) *task.State {
	r.t.Helper()
	r.run(spec)
	st := r.becomes(spec, task.Running)
	for i := range st.Containers {
		r.heeds(st.Containers[i].RuntimeID)
	}
	return st
}

// stops asks for the end of a task and waits for it.
func (r *rig) stops(spec *task.Spec) *task.State {
	r.t.Helper()
	r.ask(spec)
	return r.becomes(spec, task.Stopped)
}

// works runs a task from beginning to end: after a fault everything must be as before.
// Short limits are gone by then: a busy machine must not fall foul of them.
func (r *rig) works() {
	r.t.Helper()
	if r.settings.docker != (agentdocker.Timeouts{}) {
		r.stop()
		r.settings.docker = agentdocker.Timeouts{}
		r.start()
	}
	spec := r.spec(sleeper("works"))
	r.runs(spec)
	st := r.stops(spec)
	r.ended(&st.Containers[0], "0", "")
}

// ended checks the exit code and the reason of a container.
func (r *rig) ended(c *task.ContainerState, exit, reason string) {
	r.t.Helper()
	if got := exitOf(c); got != exit {
		r.t.Errorf("exit code %s, want %s", got, exit)
	}
	if got := reasonOf(c); got != reason {
		r.t.Errorf("reason %q, want %q", got, reason)
	}
}

func exitOf(c *task.ContainerState) string {
	if c.ExitCode == nil {
		return "none"
	}
	return fmt.Sprint(*c.ExitCode)
}

func reasonOf(c *task.ContainerState) string {
	if c.Error == nil {
		return ""
	}
	return c.Error.Error()
}

// containers lists what the engine has of a task, past the proxy.
func (r *rig) containers(spec *task.Spec) []container.Summary {
	r.t.Helper()
	list, err := shared.docker.ContainerList(r.ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", runtime.LabelTaskARN+"="+spec.ARN)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// single checks that there is exactly one container of a task's only container, and
// returns it.
func (r *rig) single(spec *task.Spec) container.Summary {
	r.t.Helper()
	list := r.containers(spec)
	if len(list) != 1 {
		r.t.Fatalf("%d containers, want 1: %s\n%s", len(list), pretty(list), r.story(spec))
	}
	return list[0]
}

// eventually asks again and again until the answer is yes.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for !ok() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.ctx.Done():
			r.t.Fatalf("not in time: %s", what)
		}
	}
}

// never checks that no report of a task had a status.
func (r *rig) never(spec *task.Spec, known task.Status) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen[spec.ARN] {
		if s.State.Known == known {
			r.t.Errorf("task %s was reported %s: %s", spec.ID(), known, pretty(s.State))
			return
		}
	}
}

// story tells what happened to a task and what it waits for, as people see it.
func (r *rig) story(spec *task.Spec) string {
	line := r.Timeline(spec.ARN)
	if line == nil {
		return "no timeline"
	}
	var b strings.Builder
	for _, w := range line.Waits {
		fmt.Fprintf(&b, "waits: %s %s: %s\n", w.Container, w.For, w.Detail)
	}
	for _, e := range line.Entries {
		fmt.Fprintf(&b, "%s %s %s: %s\n", e.At.Format("15:04:05.000"), e.Container, e.Event, e.Detail)
	}
	return b.String()
}

// waitsFor waits until a task tells that it waits for something.
func (r *rig) waitsFor(spec *task.Spec, detail string) {
	r.t.Helper()
	r.eventually("the wait for "+detail, func() bool {
		line := r.Timeline(spec.ARN)
		if line == nil {
			return false
		}
		for _, w := range line.Waits {
			if strings.Contains(w.Detail, detail) {
				return true
			}
		}
		return false
	})
}

// tells checks that the timeline of a task has an entry.
func (r *rig) tells(spec *task.Spec, event, detail string) {
	r.t.Helper()
	for _, e := range r.Timeline(spec.ARN).Entries {
		if e.Event == event && strings.Contains(e.Detail, detail) {
			return
		}
	}
	r.t.Errorf("the timeline has no entry %q with %q:\n%s", event, detail, r.story(spec))
}

// heeds waits until a container's process has said what it does with SIGTERM: the kernel
// drops the signal for a first process that has not.
func (r *rig) heeds(id string) {
	if id == "" {
		return
	}
	r.eventually("a handler of SIGTERM in "+id, func() bool {
		info, err := shared.docker.ContainerInspect(r.ctx, id)
		if err != nil || !info.State.Running {
			return true
		}
		heeds, err := harness.HeedsTerm(info.State.Pid)
		return err == nil && heeds
	})
}

func (r *rig) removeAll() {
	list, err := shared.docker.ContainerList(context.Background(), container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", runtime.LabelTaskARN)),
	})
	if err != nil {
		r.t.Error(err)
		return
	}
	for _, c := range list {
		if strings.Contains(c.Labels[runtime.LabelTaskARN], "/"+r.cluster+"/") {
			_ = shared.docker.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		}
	}
}

func (r *rig) kill(id, signal string) {
	r.t.Helper()
	if err := shared.docker.ContainerKill(r.ctx, id, signal); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) hit(f *proxy.Fault, n int) {
	r.t.Helper()
	if err := f.Await(r.ctx, n); err != nil {
		r.t.Fatal(err)
	}
}

func randomHex() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func pretty(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

// replaceImage puts the image's reference into a text.
func replaceImage(text string) string { return strings.ReplaceAll(text, "IMAGE", shared.tools) }

// matches checks the exit code of a container and its reason against a pattern.
func (r *rig) matches(c *task.ContainerState, exit, pattern string) {
	r.t.Helper()
	if got := exitOf(c); got != exit {
		r.t.Errorf("exit code %s, want %s", got, exit)
	}
	if got := reasonOf(c); !matches(pattern, got) {
		r.t.Errorf("reason %q, want it to match %q", got, pattern)
	}
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }
