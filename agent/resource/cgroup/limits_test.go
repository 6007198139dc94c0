package cgroup

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

const arn = "arn:aws:ecs:eu-west-1:111122223333:task/demo/0123456789abcdef0123456789abcdef"

func spec(cpu float64, memory int64, containers ...task.Container) *task.Spec {
	return &task.Spec{ARN: arn, CPU: cpu, Memory: memory, Containers: containers}
}

func shares(of ...int64) []task.Container {
	var cs []task.Container
	for _, n := range of {
		cs = append(cs, task.Container{CPU: n})
	}
	return cs
}

func TestLimits(t *testing.T) {
	const prefix = "cgroup resource: unable to build resource spec for task: "
	for name, c := range map[string]struct {
		spec *task.Spec
		set  Settings
		want Limits
		err  string
	}{
		"half a CPU":              {spec: spec(0.5, 512), want: Limits{Period: 100000, Quota: 50000, Memory: 536870912}},
		"quarter":                 {spec: spec(0.25, 0), want: Limits{Period: 100000, Quota: 25000}},
		"beside its value":        {spec: spec(0.29, 0), want: Limits{Period: 100000, Quota: 29000}},
		"rounded down":            {spec: spec(0.123456, 0), want: Limits{Period: 100000, Quota: 12345}},
		"many CPUs":               {spec: spec(192, 0), want: Limits{Period: 100000, Quota: 19200000}},
		"less than the kernel's":  {spec: spec(0.001, 0), want: Limits{Period: 100000, Quota: 1000}},
		"shortest period":         {spec: spec(2, 0), set: Settings{Period: 8 * time.Millisecond}, want: Limits{Period: 8000, Quota: 16000}},
		"period too short":        {spec: spec(1, 0), set: Settings{Period: time.Millisecond}, want: Limits{Period: 100000, Quota: 100000}},
		"period too long":         {spec: spec(1, 0), set: Settings{Period: time.Second}, want: Limits{Period: 100000, Quota: 100000}},
		"shares":                  {spec: spec(0, 0, shares(0, 1, 512, -4)...), want: Limits{Shares: 2 + 2 + 512 + 2}},
		"shares at most":          {spec: spec(0, 0, shares(200000, math.MaxInt64, 7)...), want: Limits{Shares: 262144}},
		"nothing asked for":       {spec: spec(0, 0), want: Limits{Shares: 2}},
		"negative":                {spec: spec(-1, -1, shares(4)...), want: Limits{Shares: 4}},
		"not a number":            {spec: spec(math.NaN(), 0), want: Limits{Shares: 2}},
		"processes":               {spec: spec(1, 0), set: Settings{Pids: 77}, want: Limits{Period: 100000, Quota: 100000, Pids: 77}},
		"container of the task's": {spec: spec(1, 64, task.Container{Memory: 64}), want: Limits{Period: 100000, Quota: 100000, Memory: 64 << 20}},
		"endless CPU":             {spec: spec(math.Inf(1), 0), err: prefix + "task CPU limit(+Inf) is out of range"},
		"too much memory":         {spec: spec(0, 1<<43), err: prefix + "task memory limit(8796093022208) is out of range"},
		"container above the task": {
			spec: spec(0, 512, task.Container{Memory: 100}, task.Container{Memory: 513}),
			err:  prefix + "task memory spec builder: container memory limit(513) greater than task memory limit(512)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LimitsOf(c.spec, c.set)
			if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestLimitsAreInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := spec(rapid.Float64().Draw(t, "cpu"), rapid.Int64().Draw(t, "memory"),
			shares(rapid.SliceOfN(rapid.Int64(), 0, 9).Draw(t, "shares")...)...)
		set := Settings{Period: time.Duration(rapid.Int64().Draw(t, "period")), Pids: rapid.Int().Draw(t, "pids")}
		l, err := LimitsOf(s, set)
		if err != nil {
			return
		}
		if (l.Quota > 0) == (l.Shares > 0) || l.Quota > 0 && (l.Quota < 1000 || l.Period < 8000 || l.Period > 100000) {
			t.Fatalf("CPU: %+v", l)
		}
		if l.Shares < 0 || l.Shares > 262144 || l.Memory < 0 || l.Pids < 0 {
			t.Fatalf("%+v", l)
		}
		if asked := s.CPU * float64(l.Period); l.Quota > 1000 && (float64(l.Quota) > asked+1 || float64(l.Quota) < asked-1) {
			t.Fatalf("quota %d for %g CPUs", l.Quota, s.CPU)
		}
		if l.Quota > 0 && float64(l.perSecond())/1e6 < float64(l.Quota)/float64(l.Period)-1e-6 {
			t.Fatalf("systemd's quota is %d µs a second for %+v", l.perSecond(), l)
		}
	})
}

func TestWeight(t *testing.T) {
	for in, want := range map[int64]int64{0: 1, 2: 1, 1024: 100, 262144: 10000, 1 << 40: 10000} {
		if got := weight(in); got != want {
			t.Errorf("%d shares weigh %d, want %d", in, got, want)
		}
	}
	for last, n := int64(0), int64(2); n <= 262144; n++ {
		if w := weight(n); w < last || w < 1 || w > 10000 {
			t.Fatalf("%d shares weigh %d after %d", n, w, last)
		} else {
			last = w
		}
	}
}

func TestProperties(t *testing.T) {
	bounded := Limits{Period: 100000, Quota: 12500, Memory: 4096, Pids: 9}
	for name, c := range map[string]struct {
		limits  Limits
		version int
		want    map[string]any
	}{
		"whole percents": {bounded, 2, map[string]any{
			"CPUQuotaPerSecUSec": uint64(130000), "MemoryMax": uint64(4096), "TasksMax": uint64(9), "TasksAccounting": true,
		}},
		"version 1": {bounded, 1, map[string]any{
			"CPUQuotaPerSecUSec": uint64(130000), "MemoryLimit": uint64(4096), "TasksMax": uint64(9), "TasksAccounting": true,
		}},
		"own period": {Limits{Period: 20000, Quota: 30000}, 2, map[string]any{
			"CPUQuotaPerSecUSec": uint64(1500000), "CPUQuotaPeriodUSec": uint64(20000),
		}},
		"weight":             {Limits{Shares: 1024}, 2, map[string]any{"CPUWeight": uint64(100)}},
		"shares, version 1":  {Limits{Shares: 1024}, 1, map[string]any{"CPUShares": uint64(1024)}},
		"the task's parent":  {Limits{}, 2, map[string]any{}},
		"the root, version1": {Limits{}, 1, map[string]any{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want["CPUAccounting"], c.want["MemoryAccounting"] = true, true
			if diff := cmp.Diff(c.want, c.limits.properties(c.version)); diff != "" {
				t.Errorf("properties (-want +got)\n%s", diff)
			}
		})
	}
}
