package doctor

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConditionsAreComplete(t *testing.T) {
	codes := map[string]bool{}
	for _, c := range Conditions() {
		if c.Code == "" || c.Title == "" || c.Text == "" || codes[c.Code] || c.Severity != Warning && c.Severity != Impairment {
			t.Errorf("%+v", c)
		}
		codes[c.Code] = true
	}
}

// patient is a check whose findings a test sets.
type patient struct {
	mu       sync.Mutex
	findings []Finding
	unknown  bool
	ran      int
}

func (p *patient) set(findings ...Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.findings = findings
}

func (p *patient) runs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ran
}

func (p *patient) check(name, kind string) Check {
	return Check{Name: name, Type: kind, Run: func(context.Context) ([]Finding, bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ran++
		return p.findings, !p.unknown
	}}
}

func TestDoctor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runtime, disk, clock patient
		clock.unknown = true
		var changes []string
		core, logs := observer.New(zap.InfoLevel)
		d := New(Options{
			Checks:  []Check{runtime.check("docker", ContainerRuntime), disk.check("disk", Agent), clock.check("clock", Agent)},
			Changed: func(r *Report) { changes = append(changes, r.Summary()) }, Log: zap.New(core),
		})
		begin := time.Now()
		want := func(number uint64, docker, agent InstanceStatus) {
			t.Helper()
			docker.Type, agent.Type = ContainerRuntime, Agent
			statuses, n := d.InstanceStatuses()
			if diff := cmp.Diff([]InstanceStatus{docker, agent}, statuses); diff != "" || n != number {
				t.Errorf("report %d, want %d: %s", n, number, diff)
			}
		}
		want(0, InstanceStatus{Status: Initializing, LastUpdated: begin, LastStatusChange: begin},
			InstanceStatus{Status: Initializing, LastUpdated: begin, LastStatusChange: begin})
		if s := d.Report().Summary(); s != "starting" {
			t.Error(s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		ok := InstanceStatus{Status: OK, LastUpdated: begin, LastStatusChange: begin}
		want(1, ok, ok)

		time.Sleep(10 * time.Second)
		broke := time.Now()
		runtime.set(DockerUnreachable.Found("no such socket"))
		disk.set(DiskNearlyFull.Found("/: 1 MiB"))
		d.Trigger()
		synctest.Wait()
		want(2, InstanceStatus{Status: Impaired, LastUpdated: broke, LastStatusChange: broke},
			InstanceStatus{Status: OK, LastUpdated: broke, LastStatusChange: begin})
		if r := d.Report(); r.Status() != Impaired || len(r.Findings()) != 2 || r.Checks[2].Status != InsufficientData {
			t.Errorf("%+v", r)
		}
		// The timer runs from the last examination; another cause is no change.
		runtime.set(DockerUnreachable.Found("still no such socket"))
		time.Sleep(interval - time.Second)
		if n := runtime.runs(); n != 2 {
			t.Errorf("examined %d times", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want(3, InstanceStatus{Status: Impaired, LastUpdated: time.Now(), LastStatusChange: broke},
			InstanceStatus{Status: OK, LastUpdated: time.Now(), LastStatusChange: begin})
		runtime.set()
		disk.set()
		time.Sleep(interval)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"healthy", "Docker does not answer, and 1 more", "healthy"}, changes); diff != "" {
			t.Error(diff)
		}
		var told []string
		for _, e := range logs.All() {
			told = append(told, e.Message)
		}
		if diff := cmp.Diff([]string{
			"health: Docker does not answer", "health: A disk is nearly full",
			"health: no longer: Docker does not answer", "health: no longer: A disk is nearly full",
		}, told); diff != "" {
			t.Error(diff)
		}
	})
}

// A check that does not come back is cut off, and what ended with the agent is no
// finding.
func TestCheckIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{Checks: []Check{Docker(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })}, Log: zaptest.NewLogger(t)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		time.Sleep(pingLimit + time.Millisecond)
		if r := d.Report(); r.Number != 1 || r.Status() != Impaired {
			t.Errorf("%+v", r)
		}
		d.Trigger()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if r := d.Report(); r.Number != 1 {
			t.Errorf("an interrupted examination counts: %+v", r)
		}
	})
}

// find runs a check and returns the codes and causes.
func find(c Check) string {
	findings, known := c.Run(context.Background())
	var out []string
	for _, f := range findings {
		out = append(out, f.Code+" "+f.Cause)
	}
	if !known {
		out = append(out, "unknown")
	}
	return strings.Join(out, "; ")
}

func TestControlPlane(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	connected := false
	c := NewControlPlane(func() bool { return connected }, func() time.Time { return now })
	step := func(d time.Duration, want string) {
		t.Helper()
		now = now.Add(d)
		if got := find(c.Check()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	step(2*time.Minute, "")
	c.Dialed(errors.New("no route"))
	step(2*time.Minute, "control-plane-unreachable for 4m0s: no route")
	c.Dialed(nil)
	connected = true
	step(time.Hour, "")
	connected = false
	step(time.Minute, "")
	step(3*time.Minute, "control-plane-unreachable for 4m0s")
	c.Inactive(true)
	step(0, "instance-inactive ")
	c.Inactive(false)
	connected = true
	step(time.Hour, "")
}

func TestDisk(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		u    Usage
		want string
	}{
		"plenty":             {Usage{Free: 50 * gib, Total: 100 * gib, FreeFiles: 90, TotalFiles: 100}, ""},
		"little of much":     {Usage{Free: 50 * gib, Total: 1000 * gib}, ""},
		"little":             {Usage{Free: gib / 2, Total: 100 * gib}, "disk-nearly-full /d: 512 MiB free of 102400 MiB"},
		"small disk":         {Usage{Free: gib / 4, Total: gib / 2}, ""},
		"nothing":            {Usage{Free: 0, Total: gib}, "disk-full /d: 0 MiB free of 1024 MiB"},
		"next to nothing":    {Usage{Free: 10 << 20, Total: 100 * gib}, "disk-full /d: 10 MiB free of 102400 MiB"},
		"no inodes":          {Usage{Free: 50 * gib, Total: 100 * gib, FreeFiles: 0, TotalFiles: 1000}, "disk-full /d: 0 inodes free of 1000"},
		"few inodes":         {Usage{Free: 50 * gib, Total: 100 * gib, FreeFiles: 50, TotalFiles: 1000}, "disk-nearly-full /d: 50 inodes free of 1000"},
		"does not count any": {Usage{Free: 50 * gib, Total: 100 * gib}, ""},
	} {
		got := find(Disk(dirs("/d", "/same"), func(string) (Usage, string, error) { return c.u, "8:1", nil }))
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := find(Disk(dirs("/none"), func(string) (Usage, string, error) { return Usage{}, "", errors.New("none") })); got != "unknown" {
		t.Error(got)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 2, 3, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		date, took time.Duration
		want       string
	}{
		{0, 0, ""},
		{-30 * time.Second, 0, ""},
		{-2 * time.Minute, 0, "clock-skewed 1m59s ahead of the clock of ECS"},
		{2 * time.Minute, 0, "clock-skewed 2m0s behind the clock of ECS"},
		{-20 * time.Minute, 0, "clock-wrong 19m59s ahead of the clock of ECS"},
		{6 * time.Minute, 0, "clock-wrong 6m0s behind the clock of ECS"},
		// Dated when the request was sent: an answer that took long is no skew.
		{-10 * time.Minute, 10 * time.Minute, ""},
	} {
		clock := NewClock(func() time.Time { return now })
		if got := find(clock.Check()); got != "unknown" {
			t.Error(got)
		}
		clock.Observe(http.Header{"Date": {now.Add(c.date).Format(http.TimeFormat)}}, now.Add(-c.took))
		if got := find(clock.Check()); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	clock := NewClock(func() time.Time { return now })
	for _, date := range []string{"", "yesterday"} {
		clock.Observe(http.Header{"Date": {date}}, now)
	}
	if got := find(clock.Check()); got != "unknown" {
		t.Error(got)
	}
	transport := clock.Transport(answers(func(*http.Request) (*http.Response, error) {
		return &http.Response{Header: http.Header{"Date": {now.Add(time.Hour).Format(http.TimeFormat)}}}, nil
	}))
	if _, err := transport.RoundTrip(&http.Request{}); err != nil {
		t.Error(err)
	}
	if got := find(clock.Check()); got != "clock-wrong 1h0m0s behind the clock of ECS" {
		t.Error(got)
	}
	now = now.Add(2 * time.Hour)
	if got := find(clock.Check()); got != "unknown" {
		t.Errorf("an old observation says %q", got)
	}
}

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestStore(t *testing.T) {
	var s Store
	if got := find(s.Check()); got != "" {
		t.Error(got)
	}
	full := errors.New("no space left on device")
	if err := s.Saved(full); !errors.Is(err, full) {
		t.Error(err)
	}
	_ = s.Saved(context.Canceled)
	if got := find(s.Check()); got != "store-failing no space left on device" {
		t.Error(got)
	}
	_ = s.Saved(nil)
	if got := find(s.Check()); got != "" {
		t.Error(got)
	}
}

func TestNetworking(t *testing.T) {
	var failure error
	c := Networking(func(context.Context) error { return failure })
	if got := find(c); got != "" {
		t.Error(got)
	}
	failure = errors.New("failed to find existing network nat")
	if got := find(c); got != "networking-failing failed to find existing network nat" {
		t.Error(got)
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		problems []string
		err      error
		want     string
	}{
		{nil, nil, ""},
		{[]string{"missing: R1"}, nil, "rules-missing missing: R1"},
		{[]string{"missing: R1", "missing: R2", "x"}, nil, "rules-missing missing: R1; and 2 more"},
		{nil, errors.New("not permitted"), "rules-unknown not permitted; unknown"},
	} {
		if got := find(Rules(func(context.Context) ([]string, error) { return c.problems, c.err })); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func dirs(names ...string) func(context.Context) []string {
	return func(context.Context) []string { return names }
}
