package linux

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"ecsagent/agent/network"
	"ecsagent/cni/nettest"
)

// TestLinks: interfaces that come to a namespace, and go into another, are told.
func TestLinks(t *testing.T) {
	nettest.NeedRoot(t)
	defer goleak.VerifyNone(t)
	vpc, host, task := nettest.NewVPC(t), nettest.New(t), nettest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	changes := make(chan network.Change, 100)
	ended := make(chan error, 1)
	go func() {
		// The thread is the namespace's for as long as it watches; its sockets stay there.
		ended <- host.Do(func() error {
			return Links{}.Watch(ctx, func() { close(ready) }, func(c network.Change) { changes <- c })
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	const mac = "06:1f:2e:3d:4c:5b"
	next := func(gone bool) network.Link {
		t.Helper()
		for c := range changes {
			if c.Link.MAC.String() == mac && c.Gone == gone {
				return c.Link
			}
		}
		return network.Link{}
	}
	peer := vpc.Attach(host, "ecsx1", mac)
	if l := next(false); l.Name != "ecsx1" || l.Kind != "veth" || l.Loopback || l.Index == 0 {
		t.Errorf("%+v", l)
	}
	if err := host.LinkSetNsFd(host.Link("ecsx1"), task.FD()); err != nil {
		t.Fatal(err)
	}
	next(true)
	if err := task.LinkSetNsFd(task.Link("ecsx1"), host.FD()); err != nil {
		t.Fatal(err)
	}
	next(false)
	var all []network.Link
	err := host.Do(func() (err error) { all, err = Links{}.List(ctx); return err })
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
	vpc.Detach(peer)
	next(true)
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}

func TestWatchEndsAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	if err := (Links{}).Watch(ctx, cancel, func(network.Change) {}); err != context.Canceled {
		t.Error(err)
	}
}
