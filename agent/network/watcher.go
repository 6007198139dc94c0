package network

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Link is a network interface of the host, as far as a watcher cares.
type Link struct {
	Index    int
	Name     string
	MAC      net.HardwareAddr
	Kind     string // of a virtual device: bridge, veth, vlan; empty for one with a driver
	Loopback bool
}

// Change says that a link came, changed or went.
type Change struct {
	Link Link
	Gone bool
}

// Links are the network interfaces of the host. An implementation is in the package of
// the operating system.
type Links interface {
	// Watch calls changed for what happens from now on, until ctx ends or it has missed
	// something, and calls ready once, when it has begun. It never waits for changed.
	Watch(ctx context.Context, ready func(), changed func(Change)) error
	// List returns what there is.
	List(ctx context.Context) ([]Link, error)
}

// Filter says which links can be elastic network interfaces (docs/spec/05 section 2.6).
type Filter struct {
	// Primary is the MAC address of the instance's own interface.
	Primary net.HardwareAddr
	// Test also lets links of a kind whose name matches a pattern pass.
	Test TestLinks
}

// TestLinks is what ECS_TEST_ENI_LINKS asks for: "kind:pattern" (docs/spec/05 section
// 7.2).
type TestLinks struct{ Kind, Pattern string }

// ParseTestLinks reads the value of ECS_TEST_ENI_LINKS.
func ParseTestLinks(text string) (TestLinks, error) {
	kind, pattern, ok := strings.Cut(text, ":")
	if _, err := path.Match(pattern, ""); !ok || kind == "" || pattern == "" || err != nil {
		return TestLinks{}, fmt.Errorf(`ECS_TEST_ENI_LINKS: %q; want a kind and a pattern of names such as "veth:ecsx*"`, text)
	}
	return TestLinks{Kind: kind, Pattern: pattern}, nil
}

// Candidate reports whether a link can be an elastic network interface.
func (f Filter) Candidate(l Link) bool {
	if l.Loopback || len(l.MAC) == 0 || bytes.Equal(l.MAC, f.Primary) {
		return false
	}
	if l.Kind == "" {
		return true
	}
	if l.Kind != f.Test.Kind {
		return false
	}
	// The pattern was checked.
	match, _ := path.Match(f.Test.Pattern, l.Name)
	return match
}

// Periods of the watcher (docs/spec/05 section 2.6).
const (
	reconcilePeriod = 30 * time.Second
	waitingPeriod   = 2 * time.Second
	rewatchPause    = time.Second
)

// Devices is told of the interfaces that come and go.
type Devices interface {
	Found(ctx context.Context, mac string) (Attachment, bool)
	Gone(ctx context.Context, mac string) error
	Waiting() bool
	Announced() <-chan struct{}
}

// Watcher tells of elastic network interfaces as soon as the kernel shows them. Events
// make it fast; a list of all interfaces, now and then, makes it right.
type Watcher struct {
	Links   Links
	Filter  Filter
	Devices Devices
	Log     *zap.Logger
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	changes := make(chan Change, 1024)
	lost := make(chan struct{}, 1)
	ended := make(chan struct{})
	ready := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		w.watch(ctx, changes, ready, lost)
	}()
	defer func() { <-ended }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-changes:
			w.tell(ctx, c)
		case <-ready:
			w.reconcile(ctx)
		case <-lost:
			w.reconcile(ctx)
		case <-w.Devices.Announced():
			// The next list comes sooner.
		case <-timer.C:
			w.reconcile(ctx)
		}
		timer.Reset(w.pause())
	}
}

// pause is until the next list.
func (w *Watcher) pause() time.Duration {
	if w.Devices.Waiting() {
		return waitingPeriod
	}
	return reconcilePeriod
}

// watch passes changes on, beginning anew when the kernel says that some were lost.
func (w *Watcher) watch(ctx context.Context, changes chan<- Change, ready, lost chan<- struct{}) {
	signal := func(c chan<- struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	for ctx.Err() == nil {
		err := w.Links.Watch(ctx, func() { signal(ready) }, func(c Change) {
			if !w.Filter.Candidate(c.Link) {
				return
			}
			select {
			case changes <- c:
			default:
				signal(lost)
			}
		})
		if ctx.Err() != nil {
			return
		}
		w.Log.Warn("events of network interfaces lost", zap.Error(err))
		timer := time.NewTimer(rewatchPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (w *Watcher) tell(ctx context.Context, c Change) {
	mac := c.Link.MAC.String()
	if c.Gone {
		if err := w.Devices.Gone(ctx, mac); err != nil && ctx.Err() == nil {
			w.Log.Error("network interface not noted as gone", zap.String("eni", mac), zap.Error(err))
		}
		return
	}
	w.Devices.Found(ctx, mac)
}

// reconcile tells of all interfaces that there are.
func (w *Watcher) reconcile(ctx context.Context) {
	all, err := w.Links.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.Log.Warn("network interfaces not listed", zap.Error(err))
		}
		return
	}
	for _, l := range all {
		if w.Filter.Candidate(l) {
			w.Devices.Found(ctx, l.MAC.String())
		}
	}
}
