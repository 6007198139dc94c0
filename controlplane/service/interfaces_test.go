package service

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// subnet is a VPC that keeps what it is told.
type subnet struct {
	prefix  netip.Prefix
	prefix6 netip.Prefix
	only6   bool

	mu       sync.Mutex
	attached []string // MAC addresses
	refuse   error
}

func (s *subnet) Subnet() netip.Prefix  { return s.prefix }
func (s *subnet) Subnet6() netip.Prefix { return s.prefix6 }
func (s *subnet) IPv6Only() bool        { return s.only6 }

func (s *subnet) Attach(i wire.NetworkInterface) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil && !slices.Contains(s.attached, i.MAC) {
		s.attached = append(s.attached, i.MAC)
	}
	return s.refuse
}

func (s *subnet) Detach(mac string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = slices.DeleteFunc(s.attached, func(m string) bool { return m == mac })
	return nil
}

func (s *subnet) macs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attached)
}

func (s *subnet) set(refuse error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// inVPC is a world with a subnet and a host whose agent can run tasks in it.
func inVPC(t *testing.T, prefix string, wait time.Duration) (w *world, net *subnet, host string) {
	t.Helper()
	net = &subnet{prefix: netip.MustParsePrefix(prefix)}
	w = newWorld(t, t.TempDir())
	w.opts.VPC, w.opts.AttachWait = net, wait
	w.restart()
	must[api.ClusterResponse](w, "CreateCluster", m{})
	host = w.host(8192, 8192, func(in m) {
		in["attributes"] = append(in["attributes"].([]m), m{"name": "ecs.capability.task-eni"})
	})
	w.define("vpc", func(def, _ m) { def["networkMode"] = "awsvpc" })
	return w, net, host
}

func (w *world) runInVPC() api.TasksResponse {
	w.t.Helper()
	return must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "vpc", "networkConfiguration": m{"awsvpcConfiguration": m{"subnets": []string{"any"}}}})
}

func (w *world) confirm(task, attachment string) {
	w.t.Helper()
	must[api.Acknowledgment](w, "SubmitTaskStateChange", m{"cluster": "default", "task": task, "attachments": []m{{"attachmentArn": attachment, "status": "ATTACHED"}}})
}

// A task gets its interface before its agent gets the task, and gives it back.
func TestInterfaceOfATask(t *testing.T) {
	w, net, host := inVPC(t, "10.20.1.1/24", time.Hour)
	task := w.runInVPC().Tasks[0]
	if task.LastStatus != api.StatusProvisioning || len(w.link.parcels()) != 0 {
		t.Fatalf("status %s, delivered %v", task.LastStatus, w.link.parcels())
	}
	told := w.link.announcements()
	if len(told) != 1 || told[0].TaskARN != task.TaskARN || told[0].Wait != time.Hour {
		t.Fatalf("announced %+v", told)
	}
	i := told[0].Interface
	if i.MAC != "06:ec:0a:14:01:04" || i.Gateway != "10.20.1.1/24" || i.IPv4[0] != (wire.IPv4Address{Primary: true, Address: "10.20.1.4"}) {
		t.Errorf("interface %+v", i)
	}
	if got := net.macs(); !slices.Equal(got, []string{i.MAC}) {
		t.Errorf("attached %v", got)
	}
	w.confirm(task.TaskARN, "arn:of:another")
	if got := w.describe(task.TaskARN); got.LastStatus != api.StatusProvisioning || got.Attachments[0].Status != "ATTACHING" {
		t.Errorf("another's attachment was taken: %+v", got)
	}
	// The wait goes on over a restart.
	w.restart()
	w.s.Connected(host, true, "1.105.1", "1a2b3c4d", "25.0.8")
	if again := w.link.announcements(); len(again) != 1 || again[0].Interface.MAC != i.MAC {
		t.Errorf("announced after a restart %+v", again)
	}
	w.confirm(task.TaskARN, i.AttachmentARN)
	w.confirm(task.TaskARN, i.AttachmentARN)
	if n := len(w.link.parcels()); n != 1 {
		t.Fatalf("%d payloads", n)
	}
	_, payload := w.link.last(t)
	enis := payload["elasticNetworkInterfaces"].([]any)
	if len(enis) != 1 || enis[0].(map[string]any)["macAddress"] != i.MAC || payload["networkMode"] != "awsvpc" {
		t.Errorf("payload %v", payload)
	}
	got := w.describe(task.TaskARN)
	if got.LastStatus != api.StatusPending || got.Attachments[0].Status != "ATTACHED" || got.Containers[0].NetworkInterfaces[0].IPv4Address != "10.20.1.4" {
		t.Errorf("task %+v", got)
	}
	w.submit(task.TaskARN, api.StatusStopped)
	if got := net.macs(); len(got) != 0 {
		t.Errorf("after the task's end %v is attached", got)
	}
	if got := w.describe(task.TaskARN); got.Attachments[0].Status != "DELETED" {
		t.Errorf("attachment %+v", got.Attachments)
	}
	// The next has another address, though the first is free.
	if next := w.runInVPC().Tasks[0]; next.Attachments[0].Details[4].Value != "10.20.1.5" {
		t.Errorf("next %+v", next.Attachments)
	}
}

// A task without its interface stops with the reason, and gives back what was made.
func TestInterfaceMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		wait   time.Duration
		refuse error
		stop   bool
		want   string
	}{
		"not seen": {wait: time.Millisecond, want: "Timeout waiting for network interface provisioning to complete."},
		"not made": {wait: time.Hour, refuse: errors.New("no luck"), want: "Network interface not attached: no luck"},
		"by user":  {wait: time.Hour, stop: true, want: "enough"},
	} {
		t.Run(name, func(t *testing.T) {
			w, net, _ := inVPC(t, "10.20.1.1/24", tt.wait)
			net.set(tt.refuse)
			ended := make(chan api.Task, 1)
			changes := w.s.Watch(t.Context())
			go func() {
				for e := range changes {
					if e.Task != nil && e.Task.LastStatus == api.StatusStopped {
						ended <- *e.Task
						return
					}
				}
			}()
			task := w.runInVPC().Tasks[0]
			if tt.stop {
				must[api.StopTaskResponse](w, "StopTask", m{"task": task.TaskARN, "reason": tt.want})
			}
			got := <-ended
			if got.TaskARN != task.TaskARN || got.StoppedReason != tt.want || len(net.macs()) != 0 || len(w.link.parcels()) != 0 {
				t.Errorf("task %+v, attached %v", got, net.macs())
			}
			w.confirm(task.TaskARN, got.Attachments[0].ID)
			if got := w.describe(task.TaskARN); got.LastStatus != api.StatusStopped {
				t.Errorf("a late confirmation made it %s", got.LastStatus)
			}
		})
	}
}

// As many tasks are placed as the subnet has addresses; without a VPC none is.
func TestSubnetIsFull(t *testing.T) {
	w, net, host := inVPC(t, "10.20.1.1/28", time.Hour)
	seen := map[string]bool{}
	for range 11 {
		seen[w.runInVPC().Tasks[0].Attachments[0].Details[4].Value] = true
	}
	full := w.runInVPC()
	if len(seen) != 11 || len(full.Tasks) != 0 || full.Failures[0].Reason != api.ReasonENI {
		t.Errorf("addresses %v, then %+v", seen, full)
	}
	if got := len(w.s.Interfaces()); got != 11 || len(net.macs()) != 11 {
		t.Errorf("%d interfaces known, %d attached", got, len(net.macs()))
	}
	w.opts.VPC = nil
	w.restart()
	w.s.Connected(host, true, "1.105.1", "1a2b3c4d", "25.0.8")
	if none := w.runInVPC(); len(none.Tasks) != 0 || none.Failures[0].Reason != api.ReasonENI {
		t.Errorf("without a VPC: %+v", none)
	}
}

// With IPv6, the last bytes of both addresses are the same.
func TestInterfaceWithIPv6(t *testing.T) {
	w, net, _ := inVPC(t, "10.20.1.1/24", time.Hour)
	net.prefix6 = netip.MustParsePrefix("fd20:ec5::1/64")
	show := func() (wire.NetworkInterface, api.Task) {
		t.Helper()
		task := w.runInVPC().Tasks[0]
		told := w.link.announcements()
		i := told[len(told)-1].Interface
		w.confirm(task.TaskARN, i.AttachmentARN)
		return i, w.describe(task.TaskARN)
	}
	i, task := show()
	if i.IPv4[0].Address != "10.20.1.4" || i.IPv6[0] != (wire.IPv6Address{Primary: true, Address: "fd20:ec5::a14:104"}) || i.Gateway6 != "fd20:ec5::1/64" {
		t.Errorf("interface %+v", i)
	}
	if got := task.Containers[0].NetworkInterfaces[0]; got.IPv4Address != "10.20.1.4" || got.IPv6Address != "fd20:ec5::a14:104" {
		t.Errorf("shown %+v", got)
	}
	net.only6 = true
	i, task = show()
	if len(i.IPv4) != 0 || i.Gateway != "" || i.IPv6[0].Address != "fd20:ec5::a14:105" || i.MAC != "06:ec:0a:14:01:05" {
		t.Errorf("interface without IPv4 %+v", i)
	}
	if got := task.Containers[0].NetworkInterfaces[0]; got.IPv4Address != "" || got.IPv6Address != "fd20:ec5::a14:105" {
		t.Errorf("shown without IPv4 %+v", got)
	}
	w.submit(task.TaskARN, api.StatusStopped)
	if i, _ = show(); i.IPv6[0].Address != "fd20:ec5::a14:106" {
		t.Errorf("the next has %+v", i)
	}
}
