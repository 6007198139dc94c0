package directory

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picture makes one of a task with a container for each state.
func picture(arn string, containers ...task.ContainerState) *task.Snapshot {
	spec := &task.Spec{ARN: arn, CredentialsID: arn + "-role", ExecutionCredentialsID: arn + "-execution"}
	for i := range containers {
		spec.Containers = append(spec.Containers, task.Container{Name: fmt.Sprint(i)})
	}
	st := task.State{Known: task.Running, Containers: containers}
	return st.Snapshot(spec)
}

func running(endpoint, address string) task.ContainerState {
	return task.ContainerState{Known: task.ContainerRunning, EndpointID: endpoint, Networks: []task.Network{{Name: "bridge", IPv4: address}}}
}

func TestTasksAreFound(t *testing.T) {
	d := New(Options{})
	d.Published(picture("t1", running("e1", "172.17.0.2"), running("e2", "172.17.0.3")))
	d.Published(picture("t2", running("e3", "172.17.0.4")))

	if m := d.Endpoint("e2"); m == nil || m.Task.ARN != "t1" || m.Index != 1 {
		t.Errorf("Endpoint(e2) = %+v", m)
	}
	if h := d.Role("t2-execution"); h == nil || h.Task.ARN != "t2" || h.Role != credentials.Execution {
		t.Errorf("Role(t2-execution) = %+v", h)
	}
	if h := d.Role("t1-role"); h == nil || h.Role != credentials.Application {
		t.Errorf("Role(t1-role) = %+v", h)
	}
	if got := d.At(netip.MustParseAddr("::ffff:172.17.0.3")); got == nil || got.ARN != "t1" {
		t.Errorf("At(172.17.0.3) = %+v", got)
	}
	for _, id := range []string{"", "e", "e22", "E2"} {
		if d.Endpoint(id) != nil || d.Role(id) != nil {
			t.Errorf("%q was found", id)
		}
	}
	d.Gone("t1")
	d.Gone("t1")
	if d.Endpoint("e1") != nil || d.Role("t1-role") != nil || d.At(netip.MustParseAddr("172.17.0.2")) != nil || d.Task("t1") != nil {
		t.Error("a task that is gone is still found")
	}
	if d.Endpoint("e3") == nil || d.Task("t2") == nil {
		t.Error("another task went with it")
	}
	d.Clear()
	if d.Endpoint("e3") != nil {
		t.Error("Clear left a task")
	}
}

// An address belongs to whoever runs with it now.
func TestAddressesMove(t *testing.T) {
	local := netip.MustParseAddr("169.254.172.9")
	d := New(Options{LocalAddress: func(s *task.Snapshot) netip.Addr {
		if s.ARN == "t3" {
			return local
		}
		return netip.Addr{}
	}})
	at := func(text string) string {
		if found := d.At(netip.MustParseAddr(text)); found != nil {
			return found.ARN
		}
		return ""
	}
	d.Published(picture("t1", running("e1", "172.17.0.2")))
	ended := running("e1", "172.17.0.2")
	ended.Known = task.ContainerStopped
	d.Published(picture("t1", ended))
	if got := at("172.17.0.2"); got != "" {
		t.Errorf("a stopped container still has its address: %s", got)
	}
	d.Published(picture("t1", running("e1", "172.17.0.2")))
	d.Published(picture("t2", running("e2", "172.17.0.2"))) // given on, and the end of t1 not seen yet
	d.Published(picture("t1", ended))
	if got := at("172.17.0.2"); got != "t2" {
		t.Errorf("the address is of %q, want t2", got)
	}
	host := task.ContainerState{Known: task.ContainerRunning, Networks: []task.Network{{Name: "host"}}}
	d.Published(picture("t3", host))
	if got := at("169.254.172.9"); got != "t3" {
		t.Errorf("the task's own address is of %q", got)
	}
	over := picture("t2", running("e2", "172.17.0.2"))
	over.State.Known = task.Stopped
	d.Published(over)
	if got := at("172.17.0.2"); got != "" {
		t.Errorf("a stopped task still has its address: %s", got)
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{})
		starting := task.ContainerState{Known: task.ContainerCreated, Applied: task.ContainerRunning, EndpointID: "e1"}
		d.Published(picture("t1", starting))
		found := d.Endpoint("e1").Task
		if !found.Unsettled() {
			t.Error("a container that is being started has an address that is not known")
		}
		go func() {
			time.Sleep(time.Second)
			d.Published(picture("t1", starting))
			time.Sleep(time.Second)
			d.Published(picture("t1", running("e1", "172.17.0.2")))
		}()
		settled := func(s *task.Snapshot) bool { return !Starting(&s.State.Containers[0]) }
		begin := time.Now()
		if s := found.Await(t.Context(), settled); !settled(s) || time.Since(begin) != 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(begin), s.State)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s := found.Await(ctx, func(*task.Snapshot) bool { return false }); s == nil || ctx.Err() == nil {
			t.Errorf("Await gave %v before its time", s)
		}
		go d.Gone("t1")
		if s := found.Await(t.Context(), func(*task.Snapshot) bool { return false }); s == nil {
			t.Error("the last picture of a task that went away is nil")
		}
	})
}

// Readers and writers at once, under the race detector.
func TestConcurrentUse(t *testing.T) {
	d := New(Options{})
	done := make(chan struct{})
	for w := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 200 {
				arn := fmt.Sprint("t", w)
				d.Published(picture(arn, running(fmt.Sprint("e", w), fmt.Sprintf("172.17.0.%d", i%4))))
				if i%50 == 0 {
					d.Gone(arn)
				}
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 200 {
				if m := d.Endpoint(fmt.Sprint("e", i%4)); m != nil && m.Task.Snapshot() == nil {
					t.Error("a task without a picture")
				}
				d.At(netip.AddrFrom4([4]byte{172, 17, 0, byte(i % 4)}))
			}
		}()
	}
	for range 8 {
		<-done
	}
}
