package ecsapi

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

type fakeDiscoverer struct {
	mu    sync.Mutex
	calls int
	now   int // calls under way
	delay time.Duration
	err   error
	limit time.Duration // deadline of the last call
	t     *testing.T
}

func (f *fakeDiscoverer) DiscoverPollEndpoint(ctx context.Context, in *DiscoverPollEndpointInput) (*DiscoverPollEndpointOutput, error) {
	f.mu.Lock()
	f.calls++
	if f.now++; f.now > 1 {
		f.t.Error("two calls at once")
	}
	err := f.err
	deadline, _ := ctx.Deadline()
	f.limit = time.Until(deadline)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.now--; f.mu.Unlock() }()
	select {
	case <-time.After(f.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &DiscoverPollEndpointOutput{Endpoint: "https://acs/" + in.ContainerInstance, TelemetryEndpoint: "https://tcs/" + in.ContainerInstance}, nil
}

func TestDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDiscoverer{t: t}
		d := NewDiscovery(f, zap.NewNop())
		ask := func(instance string, calls int) {
			t.Helper()
			out, err := d.Endpoints(t.Context(), instance, "prod")
			if err != nil || !strings.HasSuffix(out.Endpoint, instance) || f.calls != calls {
				t.Fatalf("%+v, %v after %d calls, want %d", out, err, f.calls, calls)
			}
		}
		ask("a", 1)
		ask("a", 1)
		ask("b", 2)
		if f.limit != 126*time.Second {
			t.Errorf("deadline %v", f.limit)
		}
		time.Sleep(12*time.Hour - time.Second)
		ask("a", 2)
		time.Sleep(time.Second)
		f.err = errors.New("no network")
		ask("a", 3) // refused, so the old answer serves
		ask("a", 4) // and is asked for again next time
		f.err = nil
		ask("a", 5)
		ask("a", 5)

		for _, endpoint := range []string{"https://acs/a", "https://tcs/a"} {
			before := f.calls
			d.ConnectFailed(endpoint)
			d.ConnectFailed(endpoint)
			d.Connected(endpoint)
			d.ConnectFailed(endpoint)
			d.ConnectFailed(endpoint)
			ask("a", before)
			d.ConnectFailed("https://elsewhere")
			ask("a", before)
			d.ConnectFailed(endpoint)
			ask("a", before+1)
			ask("a", before+1)
		}
	})
}

func TestDiscoveryWithoutAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDiscoverer{t: t, err: errors.New("no network"), delay: time.Minute}
		d := NewDiscovery(f, zap.NewNop())
		if _, err := d.Endpoints(t.Context(), "a", "prod"); !errors.Is(err, f.err) {
			t.Errorf("error %v", err)
		}
		f.err, f.delay = nil, time.Hour
		start := time.Now()
		if _, err := d.Endpoints(t.Context(), "a", "prod"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 126*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Endpoints(ctx, "a", "prod"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestDiscoveryAsksOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDiscoverer{t: t, delay: time.Second}
		d := NewDiscovery(f, zap.NewNop())
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if _, err := d.Endpoints(t.Context(), "a", "prod"); err != nil {
					t.Error(err)
				}
			})
		}
		impatient, cancel := context.WithCancel(t.Context())
		wait.Go(func() {
			if _, err := d.Endpoints(impatient, "b", "prod"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		wait.Wait()
		if f.calls > 2 {
			t.Errorf("%d calls", f.calls)
		}
	})
}
