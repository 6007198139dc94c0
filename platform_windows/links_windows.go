package windows

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"ecsagent/agent/network"
	"ecsagent/platform_windows/adapters"
)

// Links are the host's network adapters (docs/spec/05 section 2.7). Not every Windows tells
// of new ones, and some stop to: the watcher's lists do not depend on it.
type Links struct {
	failures int // of Watch in a row; only the watcher's goroutine calls it
}

var _ network.Links = (*Links)(nil)

const (
	firstNotice = 4 * time.Second // until Windows says that it will tell
	addressWait = 6 * time.Second // a new adapter may be without address
	addressPoll = 200 * time.Millisecond
	rewatchMax  = 10 * time.Minute
)

// List implements network.Links.
func (l *Links) List(ctx context.Context) ([]network.Link, error) {
	all, err := adapters.System{}.All(ctx)
	if err != nil {
		return nil, err
	}
	links := make([]network.Link, len(all))
	for i := range all {
		links[i] = linkOf(all[i])
	}
	return links, nil
}

// notice is where Windows tells of interfaces.
type notice struct {
	initial chan struct{}
	changed chan struct{} // something has
}

// hear is what Windows calls, on a thread of its own.
var hear = sync.OnceValue(func() uintptr {
	return windows.NewCallback(func(n *notice, _ *windows.MibIpInterfaceRow, kind uint32) uintptr {
		to := n.changed
		if kind == windows.MibInitialNotification {
			to = n.initial
		}
		select {
		case to <- struct{}{}:
		default:
		}
		return 0
	})
})

// Watch implements network.Links. A Windows that does not tell is asked again less and less
// often.
func (l *Links) Watch(ctx context.Context, ready func(), changed func(network.Change)) error {
	if l.failures > 0 {
		wait := min(rewatchMax, time.Second<<min(l.failures, 20))
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	l.failures++
	n := &notice{make(chan struct{}, 1), make(chan struct{}, 1)}
	var pin runtime.Pinner
	pin.Pin(n)
	defer pin.Unpin()
	var handle windows.Handle
	if err := windows.NotifyIpInterfaceChange(windows.AF_UNSPEC, hear(), unsafe.Pointer(n), true, &handle); err != nil {
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	// It returns when no call is under way any more.
	defer func() { _ = windows.CancelMibChangeNotify2(handle) }()
	timer := time.NewTimer(firstNotice)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("watch network interfaces: Windows does not tell of them")
	case <-n.initial:
	}
	before, err := l.List(ctx)
	if err != nil {
		return err
	}
	l.failures = 0
	ready()
	return l.compare(ctx, n, before, changed)
}

// compare tells of what is different each time that Windows has told of something, and
// looks again for a while: the address of a new adapter comes later.
func (l *Links) compare(ctx context.Context, n *notice, before []network.Link, changed func(network.Change)) error {
	timer := time.NewTimer(addressWait)
	timer.Stop()
	defer timer.Stop()
	var until time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.changed:
			until = time.Now().Add(addressWait)
		case <-timer.C:
		}
		after, err := l.List(ctx)
		if err != nil {
			return err
		}
		for _, c := range changesOf(before, after) {
			changed(c)
		}
		before = after
		if time.Now().Before(until) {
			timer.Reset(addressPoll)
		}
	}
}
