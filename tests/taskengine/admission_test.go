package taskengine

import (
	"fmt"
	"net"
	"testing"
	"time"

	"ecsagent/agent/engine"
	"ecsagent/agent/hostport"
	"ecsagent/agent/task"
	"ecsagent/tests/proxy"
)

// sized is a task that wants so many MiB.
func (r *rig) sized(mib int64) *task.Spec {
	spec := r.spec(sleeper("app"))
	spec.Memory = mib
	return spec
}

// none checks that Docker was asked for nothing of a task, which waits for a reason.
func (r *rig) none(spec *task.Spec, because string) {
	r.t.Helper()
	r.waitsFor(spec, because)
	if n := len(r.containers(spec)); n != 0 {
		r.t.Errorf("%d containers of a task that waits for %s", n, because)
	}
}

// A task that does not fit waits; smaller ones may pass it, until it has waited for so
// long that nothing passes it any more. Every end lets the queue be looked at again.
func TestAdmission(t *testing.T) {
	const age = 5 * time.Second
	s := noTrouble()
	s.options = func(o *engine.Options) { o.Capacity.Memory, o.AdmissionAge = 1000, age }
	r := newRig(t, s)
	first, big, small, late := r.sized(600), r.sized(800), r.sized(300), r.sized(100)
	r.runs(first)
	r.run(big)
	accepted := r.state(big).AcceptedAt
	r.run(small) // passes the big one, unless this machine takes the age to get here
	if passed := r.state(small).AcceptedAt; passed.Sub(accepted) < age {
		r.becomes(small, task.Running)
	} else {
		t.Skip("this machine is too slow to pass anybody within the age")
	}
	r.none(big, "800 MiB of memory, 100 free; 1st in the queue")
	r.eventually("the big one to come of age", func() bool { return time.Since(accepted) > age })
	r.run(late) // fits, and may not pass
	r.none(late, "its turn; 2nd in the queue")
	r.heeds(r.state(small).Containers[0].RuntimeID)
	r.stops(small)
	r.none(big, "800 MiB of memory, 400 free; 1st in the queue")
	r.none(late, "its turn; 2nd in the queue")
	r.stops(first)
	r.becomes(big, task.Running)
	r.becomes(late, task.Running)
	for _, spec := range []*task.Spec{first, big, small, late} {
		r.single(spec)
	}
	r.stops(late)
	r.stops(big)
}

// A task that is larger than the host waits for ever and holds up nobody, whatever its
// age; a stop takes it out without a word to Docker.
func TestTaskThatNeverFits(t *testing.T) {
	s := noTrouble()
	s.options = func(o *engine.Options) { o.Capacity.Memory, o.AdmissionAge = 1000, time.Nanosecond }
	r := newRig(t, s)
	huge := r.sized(2000)
	r.run(huge)
	r.none(huge, "2000 MiB of memory, 1000 free; 1st in the queue")
	r.works()
	st := r.stops(huge)
	r.ended(&st.Containers[0], "none", "")
	r.works()
}

// Ports that definitions fix and GPUs are had by one task at a time.
func TestPortsAndGPUsAreExclusive(t *testing.T) {
	r := newRig(t, noTrouble())
	port := freePort(t)
	withPort := func(c *task.Container) {
		c.Ports = []task.PortMapping{{ContainerPort: 80, HostPort: port, Protocol: task.TCP}}
	}
	for name, c := range map[string]struct {
		edit  func(*task.Container)
		lacks string
	}{
		"port": {withPort, fmt.Sprintf("host port %d is taken by task ", port)},
		"GPU":  {func(c *task.Container) { c.GPUs = []string{"gpu-1"} }, "GPU gpu-1 is taken by task "},
	} {
		holder, waiter := r.spec(sleeper("app", c.edit)), r.spec(sleeper("app", c.edit))
		r.runs(holder)
		r.run(waiter)
		r.none(waiter, c.lacks+holder.ID()+"; 1st in the queue")
		r.works() // somebody who wants neither
		r.stops(holder)
		st := r.becomes(waiter, task.Running)
		r.heeds(st.Containers[0].RuntimeID)
		st = r.stops(waiter)
		r.ended(&st.Containers[0], "0", "")
		_ = name
	}
	reserved := r.spec(sleeper("app", func(c *task.Container) {
		c.Ports = []task.PortMapping{{ContainerPort: 80, HostPort: 22, Protocol: task.TCP}}
	}))
	r.run(reserved)
	r.none(reserved, "host port 22 is reserved")
	r.stops(reserved)
	absent := r.spec(sleeper("app", func(c *task.Container) { c.GPUs = []string{"gpu-9"} }))
	r.run(absent)
	st := r.becomes(absent, task.Stopped)
	if want := "resource cannot be initialized for task " + absent.ARN + ": GPU gpu-9 does not exist on this container instance"; st.TerminalReason != want {
		t.Errorf("reason %q, want %q", st.TerminalReason, want)
	}
}

// Many tasks want what only one can have: each gets it in its turn, and none is started
// twice or forgotten.
func TestQueueOfManyIsServed(t *testing.T) {
	s := noTrouble()
	s.options = func(o *engine.Options) { o.Capacity.CPU = 100 }
	r := newRig(t, s)
	var specs []*task.Spec
	var requests []task.Request
	for range 8 {
		spec := r.spec(sh("app", "exit 0"))
		spec.Containers[0].CPU = 60
		specs = append(specs, spec)
		requests = append(requests, task.Request{Spec: spec, Desired: task.Running})
	}
	r.deliver(requests...)
	for _, spec := range specs {
		st := r.becomes(spec, task.Stopped)
		r.ended(&st.Containers[0], "0", "")
		r.single(spec)
	}
	for i := 1; i < len(specs); i++ {
		a, b := r.state(specs[i-1]).Containers[0], r.state(specs[i]).Containers[0]
		if b.CreatedAt.Before(a.FinishedAt) {
			t.Errorf("task %d was made %v before task %d ended", i, a.FinishedAt.Sub(b.CreatedAt), i-1)
		}
	}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// Somebody else takes the chosen host port between its choice and the start: another one
// is chosen, and what was made for the first goes away.
func TestHostPortIsTakenMeanwhile(t *testing.T) {
	s := noTrouble()
	s.ports = hostport.Options{Range: hostport.Range{First: 20100, Last: 20139}}
	r := newRig(t, s)
	held := make(chan struct{})
	f := r.proxy.Disturb(start, 1, proxy.Hold(held))
	spec := r.spec(sleeper("app", func(c *task.Container) {
		c.Ports = []task.PortMapping{{ContainerPort: 80, Protocol: task.TCP}, {ContainerPort: 53, Protocol: task.UDP}}
	}))
	r.run(spec)
	r.hit(f, 1)
	chosen := r.state(spec).Containers[0].HostPorts
	if len(chosen) != 2 || chosen[0] == 0 {
		t.Fatalf("chosen ports %v", chosen)
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", chosen[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	close(held)
	st := r.becomes(spec, task.Running)
	r.heeds(st.Containers[0].RuntimeID)
	var published []uint16
	for _, b := range st.Containers[0].Bindings {
		published = append(published, b.HostPort)
		if b.HostPort == chosen[0] {
			t.Errorf("binding %+v is the port that was taken", b)
		}
	}
	if len(published) < 2 {
		t.Errorf("published ports %v", published)
	}
	r.single(spec)
	r.tells(spec, task.EventPort, "one is taken by somebody else")
	st = r.stops(spec)
	r.ended(&st.Containers[0], "0", "")
}

// A port that the definition fixes and somebody else has is no race: the task stops, with
// Docker's words.
func TestFixedHostPortIsTaken(t *testing.T) {
	r := newRig(t, noTrouble())
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	spec := r.spec(sleeper("app", func(c *task.Container) {
		c.Ports = []task.PortMapping{{ContainerPort: 80, HostPort: uint16(l.Addr().(*net.TCPAddr).Port), Protocol: task.TCP}}
	}))
	r.run(spec)
	st := r.becomes(spec, task.Stopped)
	r.matches(&st.Containers[0], "none", `^CannotStartContainerError: Error response from daemon: driver failed programming external connectivity on endpoint .* address already in use$`)
}
