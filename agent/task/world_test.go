package task

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checks is how many tasks each property is tried on, unless the command line says.
const checks = "3000"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		_ = flag.Set("rapid.checks", checks)
	}
	os.Exit(m.Run())
}

// world plays Docker and the clock for one task. It keeps its own record of what
// really happened, against which the planner's decisions are judged.
type world struct {
	t     *rapid.T
	spec  *Spec
	st    State
	now   time.Time
	rules Rules

	inFlight []Step
	real     []realContainer
	created  []int  // create steps per container
	made     []bool // resources
	steps    int
	asked    bool // ECS asked for STOPPED
	calm     bool // what starts now runs on
}

type realContainer struct {
	exists, running, ranOnce bool
	exit                     *int
	healthy                  bool
}

var errTest = &Error{Name: "CannotTestError", Message: "drawn"}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, spec: drawSpec(t), now: time.Unix(1_700_000_000, 0)}
	w.rules = Rules{
		Admitted: true, Pull: rapid.SampledFrom([]PullBehavior{PullDefault, PullAlways, PullOnce, PullPreferCached}).Draw(t, "pull"),
		PullUpfront: rapid.Bool().Draw(t, "upfront"),
	}
	w.st = NewState(w.spec, Running, w.now)
	w.real = make([]realContainer, len(w.spec.Containers))
	w.created = make([]int, len(w.spec.Containers))
	w.made = make([]bool, len(w.spec.Resources))
	return w
}

// drawSpec draws a task whose edges only point to earlier containers.
func drawSpec(t *rapid.T) *Spec {
	n := rapid.IntRange(1, 6).Draw(t, "containers")
	s := &Spec{ARN: "arn:aws:ecs:eu-west-1:1:task/c/t"}
	for i := range n {
		c := Container{
			Name: fmt.Sprintf("c%d", i), Image: "img:1",
			Essential:       i == 0 || rapid.Bool().Draw(t, "essential"),
			HealthCheckType: "docker",
			StartTimeout:    rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second}).Draw(t, "timeout"),
		}
		if rapid.IntRange(0, 4).Draw(t, "restarts") == 0 {
			c.Restart = &RestartPolicy{Enabled: true, IgnoredExitCodes: []int{0}, AttemptPeriod: time.Minute}
		}
		for j := range i {
			if rapid.IntRange(0, 2).Draw(t, "edge") == 0 {
				c.DependsOn = append(c.DependsOn, Dependency{
					Container: fmt.Sprintf("c%d", j),
					Condition: rapid.SampledFrom([]Condition{DependsCreate, DependsStart, DependsComplete, DependsSuccess, DependsHealthy}).Draw(t, "condition"),
				})
			}
		}
		s.Containers = append(s.Containers, c)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "resources") {
		r := Resource{
			Kind: "k", Name: fmt.Sprintf("r%d", i), Text: "r", Blames: rapid.Bool().Draw(t, "blames"),
			Before: rapid.SampledFrom([]ContainerStatus{ContainerPulled, ContainerCreated}).Draw(t, "before"),
		}
		if rapid.Bool().Draw(t, "of one") {
			r.Containers = []string{fmt.Sprintf("c%d", rapid.IntRange(0, n-1).Draw(t, "which one"))}
		}
		s.Resources = append(s.Resources, r)
	}
	if rapid.IntRange(0, 3).Draw(t, "pause") == 0 {
		s.PIDMode = "task"
		if err := (Intake{Pause: Pause{Image: "pause:1"}}).addPause(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// apply applies an event and checks what must hold after any event.
func (w *world) apply(e Event) {
	before := w.st.Snapshot(w.spec).State
	Apply(w.spec, &w.st, e, w.now, w.rules)
	w.check(&before, e)
}

func (w *world) check(before *State, e Event) {
	if w.st.Known < before.Known || w.st.Desired < before.Desired {
		w.t.Fatalf("%T moved the task back: %v/%v -> %v/%v", e, before.Known, before.Desired, w.st.Known, w.st.Desired)
	}
	for i := range w.st.Containers {
		b, c := &before.Containers[i], &w.st.Containers[i]
		if c.Known < b.Known || c.Desired < b.Desired {
			w.t.Fatalf("%T moved container %d back: %v/%v -> %v/%v", e, i, b.Known, b.Desired, c.Known, c.Desired)
		}
		if b.Error != nil && c.Error != nil && b.Error != c.Error {
			w.t.Fatalf("%T replaced the first error of container %d", e, i)
		}
		if b.Known == ContainerStopped && c.Restarting {
			w.t.Fatalf("%T restarts the stopped container %d", e, i)
		}
	}
}

// settle plans and starts every step, and checks each decision against what really
// happened.
func (w *world) settle() Moves {
	moves := Plan(w.spec, &w.st, w.now, w.rules)
	for marks := 0; len(moves.Marks) > 0; marks++ {
		if marks > 10*len(w.spec.Containers) {
			w.t.Fatalf("marks without end: %#v", moves.Marks)
		}
		for _, m := range moves.Marks {
			w.apply(m)
		}
		moves = Plan(w.spec, &w.st, w.now, w.rules)
	}
	for _, s := range moves.Steps {
		for _, f := range w.inFlight {
			if f.Container == s.Container && s.OfContainer() && w.st.Containers[s.Container].Applied != ContainerNone {
				w.t.Fatalf("%v of container %d while %v is under way", s.Kind, s.Container, f.Kind)
			}
			if f == s {
				w.t.Fatalf("%v of resource %d twice at once", s.Kind, s.Resource)
			}
		}
		switch s.Kind {
		case StepCreate:
			if w.created[s.Container]++; w.created[s.Container] > 1 {
				w.t.Fatalf("container %d created twice", s.Container)
			}
			w.needs(s)
			w.hasResources(s)
		case StepStart:
			w.needs(s)
		case StepStop:
			w.notNeeded(s)
		}
		w.apply(Begin{Step: s})
		w.inFlight = append(w.inFlight, s)
		if w.steps++; w.steps > 2000 {
			w.t.Fatalf("no end after %d steps: %+v", w.steps, w.st)
		}
	}
	return moves
}

// needs checks that what the container depends on has really happened.
func (w *world) needs(s Step) {
	for _, d := range w.spec.Containers[s.Container].DependsOn {
		i := w.spec.Index(d.Container)
		r := &w.real[i]
		ok := false
		switch d.Condition {
		case DependsCreate:
			ok = r.exists
		case DependsStart:
			ok = r.ranOnce
		case DependsComplete:
			ok = r.exit != nil
		case DependsSuccess:
			ok = r.exit != nil && *r.exit == 0
		case DependsHealthy:
			// It may have turned since; it must have been.
			ok = r.running && r.healthy || w.st.Containers[i].Health == HealthHealthy
		}
		if !ok {
			w.t.Fatalf("%v of container %d though %s of %s never happened", s.Kind, s.Container, d.Condition, d.Container)
		}
	}
}

// hasResources checks that what the container is made with was made.
func (w *world) hasResources(s Step) {
	for i := range w.spec.Resources {
		if r := &w.spec.Resources[i]; r.For(w.spec.Containers[s.Container].Name) && !w.made[i] {
			w.t.Fatalf("container %d is created without resource %d", s.Container, i)
		}
	}
}

// notNeeded checks the order of stops.
func (w *world) notNeeded(s Step) {
	if w.st.Containers[s.Container].Uncertain {
		return
	}
	for j := range w.spec.Containers {
		for _, d := range w.spec.Containers[j].DependsOn {
			if d.Container == w.spec.Containers[s.Container].Name && w.real[j].running {
				w.t.Fatalf("container %d is stopped before %d, which depends on it", s.Container, j)
			}
		}
	}
}

// finish completes the k-th step under way.
func (w *world) finish(k int, fail bool) {
	s := w.inFlight[k]
	w.inFlight = append(w.inFlight[:k:k], w.inFlight[k+1:]...)
	d := Done{Step: s}
	if s.Kind == StepResource {
		if w.made[s.Resource] = !fail; fail {
			d.Err = errTest
		}
		w.apply(d)
		return
	}
	r := &w.real[s.Container]
	if fail {
		d.Err = errTest
		switch s.Kind {
		case StepStart, StepRestart:
			d.Uncertain = rapid.Bool().Draw(w.t, "uncertain")
			r.running = d.Uncertain && rapid.Bool().Draw(w.t, "runs nevertheless")
			r.ranOnce = r.ranOnce || r.running
		case StepStop:
			d.Unstopped = true
			if rapid.Bool().Draw(w.t, "docker is down") {
				d.Err = nil
			}
		}
		w.apply(d)
		return
	}
	switch s.Kind {
	case StepCreate:
		r.exists = true
		d.RuntimeID = fmt.Sprintf("id%d", s.Container)
	case StepStart, StepRestart:
		r.running, r.ranOnce, r.exit = true, true, nil
		w.now = w.now.Add(time.Second)
		d.Sight = &Sight{Status: ContainerRunning, StartedAt: w.now}
		if code := rapid.SampledFrom([]int{-1, -1, -1, 0, 1}).Draw(w.t, "exits at once"); code >= 0 && !w.calm {
			// The inspect after the start shows that it has ended already.
			w.end(r, code)
			d.Sight.Status, d.Sight.ExitCode, d.Sight.FinishedAt = ContainerStopped, r.exit, w.now
			w.apply(d)
			w.apply(Exit{Container: s.Container, ExitCode: r.exit, Sight: d.Sight, Time: w.now})
			return
		}
	case StepStop:
		if r.running {
			w.end(r, 137)
		}
		d.Sight = &Sight{Status: ContainerStopped, ExitCode: r.exit, FinishedAt: w.now}
	}
	w.apply(d)
}

func (w *world) end(r *realContainer, code int) {
	r.running, r.exit = false, &code
}

// exit ends a running container by itself, with the event that Docker sends. The
// engine holds the event back while a step is under way.
func (w *world) exit(i, code int) {
	if r := &w.real[i]; r.running && w.st.Containers[i].Applied == ContainerNone {
		w.end(r, code)
		w.now = w.now.Add(time.Second)
		w.apply(Exit{Container: i, ExitCode: &code, Time: w.now})
	}
}

func (w *world) healthy(i int, h Health) {
	if w.real[i].running {
		w.real[i].healthy = h == HealthHealthy
		w.apply(Probe{Container: i, Health: h})
	}
}

// step does one random thing.
func (w *world) step() {
	i := rapid.IntRange(0, len(w.spec.Containers)-1).Draw(w.t, "container")
	switch rapid.IntRange(0, 9).Draw(w.t, "action") {
	case 0:
		w.exit(i, rapid.SampledFrom([]int{0, 0, 1, 137}).Draw(w.t, "code"))
	case 1:
		w.healthy(i, rapid.SampledFrom([]Health{HealthHealthy, HealthUnhealthy}).Draw(w.t, "health"))
	case 2:
		w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 11 * time.Second, 2 * time.Minute}).Draw(w.t, "time"))
	case 3:
		if rapid.IntRange(0, 5).Draw(w.t, "stop") == 0 {
			w.asked = true
			w.apply(Desire{Status: Stopped})
		}
	case 4:
		w.late(i)
	default:
		if len(w.inFlight) > 0 {
			k := rapid.IntRange(0, len(w.inFlight)-1).Draw(w.t, "which")
			w.finish(k, rapid.IntRange(0, 7).Draw(w.t, "fails") == 0)
		}
	}
}

// late brings what was true a while ago: a wish that was overtaken, or a look at a
// container before it was started.
func (w *world) late(i int) {
	if rapid.Bool().Draw(w.t, "a wish") {
		w.apply(Desire{Status: Running})
	} else if w.real[i].exists {
		w.apply(Seen{Container: i, Sight: Sight{Status: ContainerCreated, RuntimeID: fmt.Sprintf("id%d", i)}})
	}
}

// fair lets everything happen that containers wait for, until nothing moves.
func (w *world) fair() {
	w.calm = true
	for range 500 {
		moves := w.settle()
		switch {
		case len(w.inFlight) > 0:
			w.finish(0, false)
		case w.meet(moves.Waits):
		case !moves.Wake.IsZero() && moves.Wake.After(w.now):
			w.now = moves.Wake
		case len(moves.Steps) == 0:
			return
		}
	}
	w.t.Fatalf("task keeps moving: %+v", w.st)
}

// meet makes one awaited condition true.
func (w *world) meet(waits []Wait) bool {
	for _, wait := range waits {
		if wait.For != WaitDependency || !w.real[wait.On].running {
			continue
		}
		switch wait.Condition {
		case DependsComplete, DependsSuccess:
			w.exit(wait.On, 0)
			return true
		case DependsHealthy:
			w.healthy(wait.On, HealthHealthy)
			return true
		}
	}
	return false
}

// explained reports whether ECS can be told why the task stopped.
func (w *world) explained() bool {
	if w.asked || w.st.TerminalReason != "" {
		return true
	}
	for i := range w.st.Containers {
		if c := &w.st.Containers[i]; c.Error != nil || c.ExitCode != nil {
			return true
		}
	}
	return false
}

// TestAnyTaskEnds: whatever happens, a task comes to RUNNING or to STOPPED with a
// reason, in bounded steps, and on its way nothing starts before what it needs, no
// status moves back and no container is created twice.
func TestAnyTaskEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(0, 60).Draw(t, "length") {
			w.settle()
			w.step()
		}
		w.fair()
		switch w.st.Known {
		case Running:
			if w.st.Desired != Running {
				t.Fatalf("the task should stop and does not: %+v", w.st)
			}
			for i, r := range w.real {
				if c := &w.st.Containers[i]; c.Known.IsRunning() != r.running {
					t.Fatalf("container %d runs: %v, and is known as %v", i, r.running, c.Known)
				}
				if w.spec.Containers[i].Essential && !r.running {
					t.Fatalf("the task goes on without its essential container %d", i)
				}
			}
		case Stopped:
			if !w.explained() {
				t.Fatalf("the task stopped and nobody can tell why: %+v", w.st)
			}
			for i, r := range w.real {
				if r.running {
					t.Fatalf("container %d runs on after its task", i)
				}
			}
		default:
			t.Fatalf("the task is stuck at %v: %+v, waits %+v", w.st.Known, w.st, Plan(w.spec, &w.st, w.now, w.rules).Waits)
		}
	})
}

// TestPlanChangesNothing: planning twice gives the same answer.
func TestPlanChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(0, 30).Draw(t, "length") {
			w.settle()
			w.step()
		}
		before := fmt.Sprintf("%+v", w.st)
		first := fmt.Sprintf("%+v", Plan(w.spec, &w.st, w.now, w.rules))
		if after := fmt.Sprintf("%+v", w.st); after != before {
			t.Fatalf("planning changed the state:\n%s\n%s", before, after)
		}
		if second := fmt.Sprintf("%+v", Plan(w.spec, &w.st, w.now, w.rules)); second != first {
			t.Fatalf("two answers to one question:\n%s\n%s", first, second)
		}
	})
}

func BenchmarkPlanTenContainers(b *testing.B) {
	spec := &Spec{}
	for i := range 10 {
		c := Container{Name: fmt.Sprintf("c%d", i), Essential: true}
		if i > 0 {
			c.DependsOn = []Dependency{{Container: fmt.Sprintf("c%d", i-1), Condition: DependsStart}}
		}
		spec.Containers = append(spec.Containers, c)
	}
	now := time.Unix(1, 0)
	st := NewState(spec, Running, now)
	for i := range st.Containers {
		st.Containers[i].Known = ContainerManifestPulled
	}
	b.ReportAllocs()
	for b.Loop() {
		Plan(spec, &st, now, Rules{Admitted: true})
	}
}
