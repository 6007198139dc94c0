package network

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"
)

// links is a host whose interfaces a test changes.
type links struct {
	mu      sync.Mutex
	all     []Link
	changed func(Change)
	lose    chan error
	lists   int
}

func (l *links) Watch(ctx context.Context, ready func(), changed func(Change)) error {
	l.mu.Lock()
	l.changed = changed
	l.mu.Unlock()
	ready()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-l.lose:
		return err
	}
}

func (l *links) List(context.Context) ([]Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists++
	return l.all, nil
}

func (l *links) plug(link Link, quietly bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, link)
	if !quietly {
		l.changed(Change{Link: link})
	}
}

func hw(last byte) net.HardwareAddr { return net.HardwareAddr{6, 0, 0, 0, 0, last} }

func watched(t *testing.T, filter Filter) (*bench, *links) {
	b := open(t)
	l := &links{lose: make(chan error), all: []Link{{Index: 1, Name: "lo", Loopback: true}, {Index: 2, Name: "ens5", MAC: hw(0xff)}}}
	w := &Watcher{Links: l, Filter: filter, Devices: b.Attachments, Log: zaptest.NewLogger(t)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return b, l
}

// TestEitherOrder: confirmed as soon as device and message are both there.
func TestEitherOrder(t *testing.T) {
	for name, steps := range map[string][]string{
		"message, device": {"message", "device"}, "device, message": {"device", "message"},
		"message, device without an event": {"message", "quiet device"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, l := watched(t, Filter{Primary: hw(0xff)})
				for _, s := range steps {
					switch s {
					case "message":
						if err := b.Add(t.Context(), eni(hw(1).String(), time.Minute)); err != nil {
							t.Fatal(err)
						}
					case "device":
						l.plug(Link{Index: 3, Name: "ens6", MAC: hw(1)}, false)
					case "quiet device":
						l.plug(Link{Index: 3, Name: "ens6", MAC: hw(1)}, true)
						time.Sleep(waitingPeriod) // since the message
					}
					synctest.Wait()
				}
				if len(b.attached) != 1 || b.attached[0].MAC != hw(1).String() {
					t.Errorf("confirmed %+v", b.attached)
				}
			})
		})
	}
}

func TestEventsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := watched(t, Filter{})
		if err := b.Add(t.Context(), eni(hw(1).String(), time.Hour)); err != nil {
			t.Fatal(err)
		}
		l.plug(Link{Index: 3, Name: "ens6", MAC: hw(1)}, true)
		l.lose <- errors.New("no buffer space")
		time.Sleep(rewatchPause)
		synctest.Wait()
		if len(b.attached) != 1 {
			t.Errorf("confirmed %+v", b.attached)
		}
	})
}

// TestPeriods: it looks every two seconds for what is announced, and otherwise rarely.
func TestPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := watched(t, Filter{})
		count := func(d time.Duration) int {
			synctest.Wait()
			l.mu.Lock()
			before := l.lists
			l.mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.lists - before
		}
		if n := count(5 * time.Minute); n != 10 {
			t.Errorf("%d lists in five minutes", n)
		}
		if err := b.Add(t.Context(), eni(hw(1).String(), time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(reconcilePeriod)
		if n := count(time.Minute); n != 30 {
			t.Errorf("%d lists in a minute", n)
		}
	})
}

func TestCandidate(t *testing.T) {
	test, err := ParseTestLinks("veth:ecsx*")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		link         Link
		plain, tests bool
	}{
		{Link{Name: "ens6", MAC: hw(1)}, true, true},
		{Link{Name: "ens5", MAC: hw(0xff)}, false, false},
		{Link{Name: "lo", MAC: hw(0), Loopback: true}, false, false},
		{Link{Name: "tun0"}, false, false},
		{Link{Name: "ecs-bridge", MAC: hw(2), Kind: "bridge"}, false, false},
		{Link{Name: "veth1a2b3c4d", MAC: hw(3), Kind: "veth"}, false, false},
		{Link{Name: "ecsx1", MAC: hw(4), Kind: "veth"}, false, true},
		{Link{Name: "ecsx1", MAC: hw(4), Kind: "vlan"}, false, false},
	} {
		if got := (Filter{Primary: hw(0xff)}).Candidate(c.link); got != c.plain {
			t.Errorf("%+v: %v", c.link, got)
		}
		if got := (Filter{Primary: hw(0xff), Test: test}).Candidate(c.link); got != c.tests {
			t.Errorf("%+v in a test: %v", c.link, got)
		}
	}
	for _, bad := range []string{"", "veth", "veth:", ":x", "veth:[", "1"} {
		if _, err := ParseTestLinks(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
