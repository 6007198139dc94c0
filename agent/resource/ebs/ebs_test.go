package ebs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/network"
	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stager is a Stager with knobs.
type stager struct {
	mu     sync.Mutex
	calls  []string
	fails  map[string]error // by volume or name
	blocks chan struct{}    // Unstage waits for it, unless nil
}

func (s *stager) do(what, which string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what+" "+which)
	return s.fails[which]
}

func (s *stager) Stage(ctx context.Context, v Volume) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.do("stage", v.VolumeID)
}

func (s *stager) Unstage(ctx context.Context, name string) error {
	if s.blocks != nil {
		select {
		case <-s.blocks:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.do("unstage", name)
}

func (s *stager) set(which string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[which] = err
}

func (s *stager) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// noStore keeps nothing.
type noStore struct{}

func (noStore) SaveAttachment(network.Attachment) error { return nil }
func (noStore) DeleteAttachment(string) error           { return nil }

func announced(volume string, in time.Duration) network.Attachment {
	return network.Attachment{
		Kind: network.EBSVolume, ARN: "arn:" + volume, VolumeID: volume, TaskARN: "task", ExpiresAt: time.Now().Add(in),
		Properties: map[string]string{propVolume: volume, propPath: "p-" + volume, propFileSystem: "xfs", propDevice: "/dev/xvdf"},
	}
}

// A volume is looked for as long as it is announced, and never without that.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stager{fails: map[string]error{"vol-1": ErrNoDevice, "vol-2": errors.New("broken"), "vol-3": ErrNoDevice}}
		var reported []string
		records := network.New(network.Options{
			Store: noStore{}, Saved: []network.Attachment{announced("vol-1", time.Minute)}, Log: zap.NewNop(),
			Attached: func(a network.Attachment) { reported = append(reported, a.VolumeID) },
		})
		w := NewWatcher(records, s, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { _ = records.Run(ctx) })
		parts.Go(func() { _ = w.Run(ctx) })
		time.Sleep(10 * time.Second) // one that was announced before the start
		if n := s.count(); n < 15 || n > 25 {
			t.Errorf("%d looks in 10 s", n)
		}
		for _, volume := range []string{"vol-2", "vol-3"} {
			if err := w.Add(ctx, announced(volume, 20*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		eni := network.Attachment{Kind: network.TaskENI, MAC: "06:00:00:00:00:01", ARN: "arn:eni", ExpiresAt: time.Now().Add(time.Minute)}
		if err := w.Add(ctx, eni); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		s.set("vol-1", nil)
		s.set("vol-2", nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := strings.Join(reported, " "); got != "vol-1 vol-2" && got != "vol-2 vol-1" {
			t.Errorf("reported %q", got)
		}
		time.Sleep(time.Minute)
		quiet := s.count()
		time.Sleep(time.Hour)
		if n := s.count(); n != quiet {
			t.Errorf("%d looks while nothing is announced", n-quiet)
		}
		cancel()
		parts.Wait()
		if got := len(reported); got != 2 {
			t.Errorf("reported %q", reported)
		}
	})
}

func specOf(volumes ...string) *task.Spec {
	s := &task.Spec{ARN: "arn:task", Containers: []task.Container{{Name: "app"}}}
	for _, v := range volumes {
		s.Volumes = append(s.Volumes, task.Volume{Name: v, Type: task.VolumeEBS, Properties: map[string]string{propVolume: v, propPath: "p-" + v}})
	}
	return s
}

func TestHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stager{fails: map[string]error{"vol-2": ErrNoDevice}}
		h := Hook{Stager: s}
		if list, err := h.Needs(specOf()); len(list) != 0 || err != nil {
			t.Errorf("%v, %v", list, err)
		}
		if _, err := (Hook{}).Needs(specOf("vol-1")); err == nil || !strings.Contains(err.Error(), "EBS volumes are not supported on this container instance") {
			t.Errorf("%v", err)
		}
		spec := specOf("vol-1", "vol-2")
		list, err := h.Needs(spec)
		if err != nil || len(list) != 1 || list[0].Before != task.ContainerCreated {
			t.Fatalf("%v, %v", list, err)
		}
		snap := (&task.State{}).Snapshot(spec)
		begun := time.Now()
		_, err = h.Provision(t.Context(), snap, &list[0])
		var shown *task.Error
		if !errors.As(err, &shown) || shown.Name != "VolumeError" || !strings.Contains(shown.Message, "EBS volume vol-2: ") || time.Since(begun) < waitLimit {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		time.AfterFunc(30*time.Second, func() { s.set("vol-2", nil) }) // it is late
		if _, err = h.Provision(t.Context(), snap, &list[0]); err != nil {
			t.Error(err)
		}
		s.set("vol-1", errors.New("it holds swap"))
		if _, err = h.Provision(t.Context(), snap, &list[0]); err == nil || !strings.Contains(err.Error(), "EBS volume vol-1: it holds swap") {
			t.Errorf("%v", err)
		}
		s.set("p-vol-1", errors.New("no"))
		if err := h.CleanUp(t.Context(), snap, &list[0], nil); err == nil || s.calls[len(s.calls)-1] != "unstage p-vol-2" {
			t.Errorf("%v, %q", err, s.calls)
		}
	})
}

// observer writes down what it hears.
type observer struct {
	mu    sync.Mutex
	heard []*task.Snapshot
}

func (o *observer) Observe(s *task.Snapshot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.heard = append(o.heard, s)
}

func (o *observer) last() (n int, last *task.Snapshot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n = len(o.heard); n > 0 {
		last = o.heard[n-1]
	}
	return n, last
}

func picture(spec *task.Spec, known task.Status) *task.Snapshot {
	return (&task.State{Known: known, Containers: []task.ContainerState{{Known: task.ContainerStopped}}}).Snapshot(spec)
}

// ECS hears that a task has stopped when its volumes are unmounted, or when that takes too
// long; of everything else at once.
func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o observer
		s := &stager{blocks: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		r := NewReporter(ctx, &o, s, zap.NewNop())
		r.Observe(picture(specOf(), task.Stopped))
		r.Observe(picture(specOf("vol-1"), task.Running))
		if n, _ := o.last(); n != 2 {
			t.Errorf("heard %d", n)
		}
		r.Observe(picture(specOf("vol-1"), task.Stopped))
		newest := picture(specOf("vol-1"), task.Stopped)
		r.Observe(newest)
		synctest.Wait()
		if n, _ := o.last(); n != 2 || s.count() != 0 {
			t.Errorf("heard %d before its volume is unmounted", n)
		}
		close(s.blocks)
		synctest.Wait()
		if n, last := o.last(); n != 3 || last != newest || s.count() != 1 {
			t.Errorf("heard %d, %q", n, s.calls)
		}
		s.blocks = make(chan struct{})
		r.Observe(newest)
		time.Sleep(unstageLimit - time.Second)
		if n, _ := o.last(); n != 3 {
			t.Errorf("heard %d", n)
		}
		time.Sleep(2 * time.Second)
		if n, _ := o.last(); n != 4 {
			t.Errorf("heard %d: a volume that hangs hides the end of its task", n)
		}
		r.Observe(newest)
		synctest.Wait()
		cancel() // the agent ends: the next one unmounts it and tells
		r.Wait()
		if n, _ := o.last(); n != 4 {
			t.Errorf("heard %d", n)
		}
	})
}

func TestClient(t *testing.T) {
	dir, err := os.MkdirTemp("", "ebs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	code, answer := 200, "{}"
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v Volume
		_ = json.NewDecoder(r.Body).Decode(&v)
		asked = fmt.Sprintf("%s %s %+v", r.Method, r.URL.Path, v)
		w.WriteHeader(code)
		fmt.Fprint(w, answer)
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	defer func() { server.Close(); <-served }()
	c := NewClient(socket)
	v := volumeOf(announced("vol-1", 0).Properties)
	if err := c.Stage(t.Context(), v); err != nil {
		t.Error(err)
	}
	if want := fmt.Sprintf("POST /EBS.Stage {VolumeID:vol-1 Device:/dev/xvdf Name:p-vol-1 FileSystem:xfs Group:%d}", dockerspec.EBSGroup("p-vol-1")); asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	if err := c.Unstage(t.Context(), "p-vol-1"); err != nil || !strings.HasPrefix(asked, "POST /EBS.Unstage {VolumeID: Device: Name:p-vol-1") {
		t.Errorf("asked %s, %v", asked, err)
	}
	answer = `{"Used":3,"Size":20}`
	if used, size, err := c.Usage(t.Context(), "p-vol-1"); err != nil || used != 3 || size != 20 || !strings.HasPrefix(asked, "POST /EBS.Usage {VolumeID: Device: Name:p-vol-1") {
		t.Errorf("asked %s, %d of %d, %v", asked, used, size, err)
	}
	answer = "canary"
	if _, _, err := c.Usage(t.Context(), "p-vol-1"); err == nil || !strings.Contains(err.Error(), "read the volume plugin's answer to EBS.Usage: ") {
		t.Error(err)
	}
	for _, a := range []struct {
		code   int
		answer string
		want   string
		none   bool
	}{
		{500, `{"Err":"it holds swap"}`, "it holds swap", false},
		{404, `{"Err":"no such volume"}`, "no such volume", true},
		{404, "404 page not found", "the volume plugin does not know about EBS (EBS.Stage 404 Not Found)", false}, // another plugin
	} {
		code, answer = a.code, a.answer
		if err := c.Stage(t.Context(), v); err == nil || !strings.Contains(err.Error(), a.want) || errors.Is(err, ErrNoDevice) != a.none {
			t.Errorf("%d %s: %v", a.code, a.answer, err)
		}
	}
	if err := NewClient(filepath.Join(dir, "none")).Stage(t.Context(), v); err == nil || !strings.Contains(err.Error(), "ask the volume plugin") {
		t.Errorf("nobody there: %v", err)
	}
}

// gauge tells of volumes; "slow" takes until nobody waits, "gone" is not there.
type gauge struct{}

func (gauge) Usage(ctx context.Context, name string) (used, size uint64, err error) {
	switch name {
	case "p-slow":
		<-ctx.Done()
		return 0, 0, ctx.Err()
	case "p-gone":
		return 0, 0, errors.New("no volume is mounted there")
	}
	return 3, 20, nil
}

// TestUsage: a volume that does not answer holds nothing up for long, and the others are told.
func TestUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := specOf("slow", "data", "gone")
		spec.Volumes = append(spec.Volumes, task.Volume{Name: "own", Type: task.VolumeHost})
		begun := time.Now()
		list, err := Usage(t.Context(), gauge{}, (&task.State{}).Snapshot(spec))
		if len(list) != 1 || list[0] != (stats.VolumeUsage{ID: "data", Name: "data", Used: 3, Size: 20}) || time.Since(begun) != usageLimit {
			t.Errorf("%+v after %v", list, time.Since(begun))
		}
		for _, want := range []string{"usage of EBS volume slow: context deadline exceeded", "usage of EBS volume gone: no volume is mounted there"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

// TestSweep: what was announced for a task that never came is unmounted when the agent starts;
// what is still to come, or used, stays. A record is forgotten once that is done.
func TestSweep(t *testing.T) {
	record := func(name, task string, left time.Duration) network.Attachment {
		return network.Attachment{Kind: network.EBSVolume, TaskARN: "arn:task/" + task, Sent: true, ExpiresAt: time.Now().Add(left),
			Properties: map[string]string{propPath: name}}
	}
	st := &stager{fails: map[string]error{"late": errors.New("busy")}}
	var forgotten []string
	h := Hook{
		Stager: st, Log: zap.NewNop(),
		Tasks: func() []*task.Snapshot {
			return []*task.Snapshot{{Spec: &task.Spec{Volumes: []task.Volume{{Type: task.VolumeEBS, Properties: map[string]string{propPath: "used"}}}}}}
		},
		Records: func() []network.Attachment {
			return []network.Attachment{record("announced", "new", time.Minute), record("known", "known", -time.Minute),
				record("late", "lost", -time.Minute), record("gone", "gone", -time.Minute), record("used", "former", -time.Minute),
				{Kind: network.TaskENI, TaskARN: "arn:task/other", ExpiresAt: time.Now().Add(-time.Minute)}}
		},
		Forget: func(_ context.Context, arn string) error { forgotten = append(forgotten, arn); return nil },
	}
	known := func(id string) bool { return id == "known" }
	if err := h.Sweep(t.Context(), known); err == nil || strings.Join(forgotten, " ") != "arn:task/gone arn:task/former" {
		t.Errorf("%v; forgotten %q while a volume is mounted", err, forgotten)
	}
	st.set("late", nil)
	st.calls, forgotten = nil, nil
	if err := h.Sweep(t.Context(), known); err != nil || strings.Join(forgotten, " ") != "arn:task/lost arn:task/gone arn:task/former" || strings.Join(st.calls, ", ") != "unstage late, unstage gone" {
		t.Errorf("%v; forgotten %q, calls %q", err, forgotten, st.calls)
	}
	if err := (Hook{}).Sweep(t.Context(), known); err != nil {
		t.Error(err)
	}
}
