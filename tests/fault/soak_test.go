package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
	"ecsagent/tests/proxy"
)

var (
	soakFor = flag.Duration("soak", 15*time.Second, "how long the soak's tasks and faults come")
	seed    = flag.Uint64("seed", 1, "what the soak draws from; 0 draws a seed, as make soak does")
	keep    = flag.String("record", "", "`file` that gets every step, message and action of Docker in the soak, a line of JSON each")
)

const (
	// settle is how long everything may take to come to its end when nothing fails any
	// more. A silent connection is noticed after two minutes (docs/spec/01 section 3.2),
	// and a refused change is repeated after five.
	settle = 8 * time.Minute
	// crowd is how many tasks run at once, at most.
	crowd = 12
	// role is the task role of every task.
	role = "arn:aws:iam::123456789012:role/soak"
)

// TestSoak: random tasks under random faults, from a seed. Nothing is lost, done twice
// or left behind, by the record of what Docker did and ECS accepted.
func TestSoak(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d: repeat with make soak FOR=%v SEED=%d", *seed, *soakFor, *seed)
	l, engine := ownEngine(t)
	ctx, site := siteOn(t, l, *soakFor*3+settle+2*time.Minute, "ECS_CONTAINER_STOP_TIMEOUT=5s")
	s := &soak{t: t, ctx: ctx, Site: site, engine: engine, dice: newDice(*seed), begun: time.Now(), counts: make(map[string]int)}
	defer s.write()
	if err := site.Keep(); err != nil {
		t.Fatal(err)
	}
	if err := site.AwaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	s.define()
	// One before the faults: on a busy machine they may be all that a short run has time for.
	s.run(0)
	err := harness.Poll(ctx, "a container to start", func(context.Context) (bool, error) {
		return slices.ContainsFunc(s.Record.Events(), func(e lab.Event) bool { return e.Action == "start" }), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.play()
	s.heal()
	s.finish()
	s.check()
}

// soak is one run.
type soak struct {
	t   *testing.T
	ctx context.Context
	*lab.Site
	engine *lab.Dockerd
	dice   *dice
	begun  time.Time
	shapes []string // task definitions
	counts map[string]int
	lines  []any          // what was done
	ending sync.WaitGroup // faults that end by themselves
	calls  atomic.Int64   // that were made to fail, in all

	docker, slow, silent, ecs level
	crashed                   atomic.Bool // the engine, and it is not back
	crashes                   []time.Time // of the engine
	credentials               atomic.Int64
}

// level is how many faults of a kind are up. Its channel is closed when none is.
type level struct {
	mu   sync.Mutex
	n    int
	over chan struct{}
}

func (l *level) raise(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case up && l.n == 0:
		l.n, l.over = 1, make(chan struct{})
	case up:
		l.n++
	case l.n == 1:
		l.n = 0
		close(l.over)
	default:
		l.n--
	}
}

// up returns what is closed when the fault is over, nil when it is not up.
func (l *level) up() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		return nil
	}
	return l.over
}

// define registers what tasks are drawn from.
func (s *soak) define() {
	const server = "trap 'exit 5' TERM; sleep 3600 & while :; do wait; done"
	needs := func(name, condition string) []M { return []M{{"containerName": name, "condition": condition}} }
	data := []M{{"sourceVolume": "data", "containerPath": "/data"}}
	volume := []M{{"name": "data", "dockerVolumeConfiguration": M{"scope": "task"}}}
	for i, shape := range []M{
		{"containerDefinitions": []M{sh(s.Site, "server", server, nil)}},
		{"containerDefinitions": []M{sh(s.Site, "job", "sleep 0.5; exit 7", nil)}},
		{"containerDefinitions": []M{sh(s.Site, "moment", "exit 0", nil)}},
		{"volumes": volume, "containerDefinitions": []M{
			sh(s.Site, "init", "echo ready > /data/file", M{"essential": false, "mountPoints": data}),
			sh(s.Site, "server", "cat /data/file; "+server, M{"dependsOn": needs("init", "SUCCESS"), "mountPoints": data, "portMappings": []M{{"containerPort": 80}}}),
		}},
		{"containerDefinitions": []M{
			sh(s.Site, "db", server, nil),
			sh(s.Site, "web", "sleep 2; exit 3", M{"dependsOn": needs("db", "START")}),
			sh(s.Site, "side", "sleep 1", M{"essential": false}),
		}},
		{"containerDefinitions": []M{sh(s.Site, "stubborn", "trap '' TERM; sleep 3600 & while :; do wait; done", M{"stopTimeout": 2})}},
	} {
		shape["family"], shape["networkMode"] = fmt.Sprintf("%s-%d", s.Cluster, i), "bridge"
		shape["taskRoleArn"] = role
		arn, err := s.ECS.Register(s.ctx, shape)
		if err != nil {
			s.t.Fatal(err)
		}
		s.shapes = append(s.shapes, arn)
	}
}

// play takes the steps of the plan, each at its time or as soon as the ones before it
// are done.
func (s *soak) play() {
	s.Engine.Disturb("", 0, s.disturb)
	s.Plane.SetAnswer(s.refuse)
	begun := time.Now()
	for step := range plan(*seed, *soakFor) {
		if !s.until(begun.Add(step.at)) {
			return
		}
		s.counts[step.what]++
		s.note(map[string]any{"step": step.what, "pick": step.pick, "lasts": step.lasts.String()})
		s.take(step)
	}
}

func (s *soak) take(step step) {
	switch step.what {
	case "run a task":
		s.run(step.pick)
	case "stop a task":
		s.stop(step.pick)
	case "kill the agent":
		s.Kill()
	case "kill the control plane":
		s.Local.Kill()
		if err := s.StartLocal(s.ctx); err != nil {
			s.t.Error(err)
		}
	case "cut connections":
		s.Link.Cut()
	case "connections forgotten":
		s.Link.Mute()
	case "event streams end":
		s.Engine.CloseStreams()
	case "network gone":
		s.Link.Cut()
		s.during(step, s.Link.Refuse)
	case "network silent":
		s.during(step, func(on bool) {
			if on {
				s.Link.Silence()
			} else {
				s.Link.Resume()
			}
		})
	case "network slow":
		s.during(step, func(on bool) {
			latency := time.Duration(0)
			if on {
				latency = 100 * time.Millisecond
			}
			s.Link.SetLatency(latency)
		})
	case "ECS fails":
		s.during(step, s.ecs.raise)
	case "Docker fails":
		s.during(step, s.docker.raise)
	case "Docker slow":
		s.during(step, s.slow.raise)
	case "Docker silent":
		s.during(step, s.silent.raise)
	case "Docker gone":
		s.during(step, s.Engine.Down)
	case "kill the engine":
		s.crash(step)
	case "ask for credentials":
		s.ending.Go(func() { s.ask(step.pick) })
	default:
		s.t.Errorf("no such step: %q", step.what)
	}
}

// until waits, and reports false when the run ends first.
func (s *soak) until(at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// during keeps a fault up for a while, beside everything else.
func (s *soak) during(step step, fault func(on bool)) {
	fault(true)
	s.ending.Go(func() {
		s.until(time.Now().Add(step.lasts))
		fault(false)
	})
}

// crash kills the engine, which comes back at once. Every second time it goes on with the
// containers that run, as it does where it is told to; else it stops them.
func (s *soak) crash(step step) {
	if !s.crashed.CompareAndSwap(false, true) {
		return
	}
	if err := s.engine.Kill(); err != nil {
		s.t.Error(err)
		return
	}
	s.crashes = append(s.crashes, time.Now())
	s.ending.Go(func() {
		if err := s.engine.Relaunch(s.ctx, step.pick%2 == 0); err != nil {
			s.t.Error(err)
			return
		}
		s.crashed.Store(false)
	})
}

// ask gets the credentials of a container that runs. The agent may be down; but to refuse
// them is to have lost them.
func (s *soak) ask(pick int) {
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	running := s.holders(ctx)
	if len(running) == 0 {
		return
	}
	id := running[pick%len(running)]
	status, err := s.fetch(ctx, id)
	switch {
	case err != nil || status >= 500 || status == http.StatusTooManyRequests:
	case status == http.StatusOK:
		s.credentials.Add(1)
	case slices.Contains(s.holders(ctx), id):
		s.t.Errorf("lost: the credentials of container %s, which runs, were refused with %d", id, status)
	}
}

// holders lists the containers that run; none while the engine does not tell.
func (s *soak) holders(ctx context.Context) []string {
	all, err := s.Containers(ctx, s.Lab.Docker)
	if err != nil {
		return nil
	}
	var ids []string
	for _, c := range all {
		if c.State == "running" {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// fetch asks the agent for a container's credentials with what is in its environment.
func (s *soak) fetch(ctx context.Context, id string) (status int, err error) {
	info, err := s.Lab.Docker.ContainerInspect(ctx, id)
	if err != nil {
		return 0, err
	}
	const variable = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="
	i := slices.IndexFunc(info.Config.Env, func(v string) bool { return strings.HasPrefix(v, variable) })
	if i < 0 {
		return 0, fmt.Errorf("container %s has no %s", id, variable)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.TaskEndpoint+strings.TrimPrefix(info.Config.Env[i], variable), nil)
	if err != nil {
		return 0, err
	}
	request.Close = true // connections would outlive the agent
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer reply.Body.Close()
	var got struct{ RoleArn, AccessKeyID, SecretAccessKey, Token string }
	if reply.StatusCode != http.StatusOK {
		return reply.StatusCode, nil
	}
	if err := json.NewDecoder(reply.Body).Decode(&got); err != nil {
		return 0, err
	}
	if got.RoleArn != role || got.AccessKeyID == "" || got.SecretAccessKey == "" || got.Token == "" {
		s.t.Errorf("container %s got the credentials of role %q, key %q; want those of %s", id, got.RoleArn, got.AccessKeyID, role)
	}
	return reply.StatusCode, nil
}

// haveCredentials waits until each container that runs has its credentials, now that
// nothing fails any more.
func (s *soak) haveCredentials(ctx context.Context) {
	for _, id := range s.holders(ctx) {
		err := harness.Poll(ctx, "the credentials of container "+id, func(ctx context.Context) (bool, error) {
			status, err := s.fetch(ctx, id)
			if err != nil {
				return !slices.Contains(s.holders(ctx), id), err
			}
			return status == http.StatusOK || !slices.Contains(s.holders(ctx), id), fmt.Errorf("status %d", status)
		})
		if err != nil {
			s.t.Errorf("lost: %v", err)
		}
	}
}

// run starts a task, unless enough of them run already or nobody can place it now.
func (s *soak) run(pick int) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	if running, err := s.tasks(ctx, "RUNNING"); err == nil && len(running) < crowd {
		// What the control plane did not place or answer, it is asked for at the end.
		_, _, _ = s.ECS.Run(ctx, s.shapes[pick%len(s.shapes)], 1)
	}
}

func (s *soak) stop(pick int) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	if running, err := s.tasks(ctx, "RUNNING"); err == nil && len(running) > 0 {
		_ = s.ECS.Stop(ctx, running[pick%len(running)], "soak") // it may be over by now
	}
}

// tasks lists the tasks that ECS wants to have a status.
func (s *soak) tasks(ctx context.Context, desired string) ([]string, error) {
	var all []string
	for token := ""; ; {
		in := M{"cluster": s.Cluster, "desiredStatus": desired}
		if token != "" {
			in["nextToken"] = token
		}
		var out struct {
			TaskARNs  []string `json:"taskArns"`
			NextToken string   `json:"nextToken"`
		}
		if err := s.ECS.Call(ctx, "ListTasks", in, &out); err != nil {
			return nil, err
		}
		all = append(all, out.TaskARNs...)
		if token = out.NextToken; token == "" {
			return all, nil
		}
	}
}

// disturb is what becomes of a call to Docker.
func (s *soak) disturb(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	path := proxy.Pattern(r.URL.Path)
	if path == "/events" {
		forward.ServeHTTP(w, r)
		return
	}
	random := s.dice.roll(r.Method + " " + path)
	if over := s.silent.up(); over != nil && random.IntN(2) == 0 {
		s.calls.Add(1)
		proxy.Hold(over)(w, r, forward)
		return
	}
	if s.slow.up() != nil {
		proxy.Slow(time.Duration(random.Int64N(int64(time.Second))))(w, r, forward)
		return
	}
	if s.docker.up() == nil || random.IntN(100) >= 30 {
		forward.ServeHTTP(w, r)
		return
	}
	s.calls.Add(1)
	faults := []proxy.Action{proxy.Fail(http.StatusInternalServerError, "soak"), proxy.Reset(), proxy.LoseAnswer(), proxy.Halve()}
	faults[random.IntN(len(faults))](w, r, forward)
}

// refuse answers calls of the ECS API with what passes.
func (s *soak) refuse(operation string, _ []byte) (int, string) {
	if s.ecs.up() == nil || !strings.HasPrefix(operation, "Submit") && operation != "DiscoverPollEndpoint" {
		return 0, ""
	}
	random := s.dice.roll(operation)
	answers := []string{"ServerException", "ThrottlingException", "ExpiredTokenException"}
	if random.IntN(100) >= 70 {
		return 0, ""
	}
	s.calls.Add(1)
	n := random.IntN(len(answers))
	return map[int]int{0: 500, 1: 400, 2: 400}[n], fmt.Sprintf(`{"__type":%q,"message":"soak"}`, answers[n])
}

// heal ends every fault.
func (s *soak) heal() {
	s.ending.Wait()
	s.Plane.SetAnswer(nil)
	s.Link.Cut() // those that were forgotten
}

// finish stops what runs and waits until everything is at its end and cleaned up.
func (s *soak) finish() {
	ctx, cancel := context.WithTimeout(s.ctx, settle)
	defer cancel()
	s.haveCredentials(ctx)
	running, err := s.tasks(ctx, "RUNNING")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, arn := range running {
		if err := s.ECS.Stop(ctx, arn, "the end"); err != nil {
			s.t.Errorf("stop %s: %v", arn, err)
		}
	}
	all, err := s.tasks(ctx, "STOPPED")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, arn := range all {
		if task, err := s.ECS.AwaitStatus(ctx, arn, "STOPPED"); err != nil {
			s.t.Errorf("lost: %s is %s: %v", arn, task.LastStatus, err)
		}
	}
	for _, arn := range s.ECS.Ran() {
		if task, err := s.ECS.Describe(ctx, arn); err != nil || task.LastStatus != "STOPPED" {
			s.t.Errorf("lost: %s is %q: %v", arn, task.LastStatus, err)
		}
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
	cleanedUp(ctx, s.t, s.Site)
	if code, err := s.End(); err != nil || code != 0 {
		s.t.Errorf("exit code %d of the agent: %v", code, err)
	}
}

// check looks at the record, and at what is left.
func (s *soak) check() {
	happened := s.Record.Events()
	reports := lab.Reports(s.Plane)
	for _, v := range append(lab.Violations(happened, reports), lab.WrongExits(s.remembered(happened), reports)...) {
		s.t.Error(v)
	}
	nothingLeft(s.ctx, s.t, s.Site, s.Cluster)
	if left, err := s.engine.Namespaces(); err != nil || len(left) > 0 {
		s.t.Errorf("network namespaces are left: %v %v", left, err)
	}
	started := 0
	for _, e := range happened {
		if e.Action == "start" {
			started++
		}
	}
	tasks := len(tasksOf(s.Site))
	s.t.Logf("%d tasks, %d containers started, %d state changes accepted by ECS, the agent ended %d times by kills and for want of Docker, %d calls made to fail, credentials had %d times, %v in all; %v",
		tasks, started, len(reports), s.Deaths(), s.calls.Load(), s.credentials.Load(), time.Since(s.begun).Round(time.Second), s.counts)
	if tasks == 0 || started == 0 {
		s.t.Error("nothing happened")
	}
}

// remembered leaves out the ends that the engine has told of and may not have saved: killed
// just after, it comes back and says 255.
func (s *soak) remembered(happened []lab.Event) []lab.Event {
	const unsaved = 5 * time.Second
	return slices.DeleteFunc(slices.Clone(happened), func(e lab.Event) bool {
		return e.Action == "die" && slices.ContainsFunc(s.crashes, func(at time.Time) bool {
			return at.After(e.At) && at.Sub(e.At) < unsaved
		})
	})
}

func (s *soak) note(line map[string]any) {
	line["at"] = time.Now()
	s.lines = append(s.lines, line)
}

// write keeps the record where it was asked for, and of a run that failed.
func (s *soak) write() {
	name := *keep
	if name == "" && s.t.Failed() {
		name = filepath.Join(os.TempDir(), fmt.Sprintf("ecs-soak-%d.jsonl", *seed))
	}
	if name == "" {
		return
	}
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	happened := s.Record.Events()
	var err error
	for _, line := range s.lines {
		err = lines.Encode(line)
	}
	for _, e := range happened {
		err = lines.Encode(e)
	}
	for _, c := range s.Engine.Calls() {
		err = lines.Encode(c)
	}
	for _, m := range s.Plane.Submissions() {
		err = lines.Encode(m)
	}
	if err == nil {
		err = os.WriteFile(filepath.Clean(name), out.Bytes(), 0o600)
	}
	if log, readErr := os.ReadFile(s.AgentLog()); err == nil && readErr == nil {
		err = os.WriteFile(filepath.Clean(name)+".log", log, 0o600)
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	s.t.Logf("record in %s, the agent's log beside it", name)
}
