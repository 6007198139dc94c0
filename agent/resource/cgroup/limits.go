package cgroup

import (
	"fmt"
	"math"
	"time"

	"ecsagent/agent/task"
)

// Bounds of docs/spec/02 section 4.10, and of the kernel.
const (
	defaultPeriod = 100 * time.Millisecond
	minPeriod     = 8 * time.Millisecond

	minQuota  = 1000 // µs; the kernel refuses less
	maxCPU    = 1 << 20
	minShares = 2
	maxShares = 262144
	mebibyte  = 1 << 20
	maxMemory = math.MaxInt64 / mebibyte // MiB
)

// Limits are those of a task as a whole. Zero means that there is none.
type Limits struct {
	Period int64 // µs
	Quota  int64 // µs of CPU time in each period, of all CPUs together
	Shares int64 // weight among tasks, 1024 as one CPU; only where there is no quota
	Memory int64 // bytes
	Pids   int64 // processes and threads
}

// Settings are what the host's configuration adds to a task's own limits.
type Settings struct {
	Period time.Duration // ECS_CGROUP_CPU_PERIOD; out of bounds means 100 ms
	Pids   int           // ECS_TASK_PIDS_LIMIT; 0 means none
}

// LimitsOf works out the limits of a task.
func LimitsOf(spec *task.Spec, s Settings) (Limits, error) {
	var l Limits
	if err := l.setCPU(spec, s.Period); err != nil {
		return Limits{}, err
	}
	if err := l.setMemory(spec); err != nil {
		return Limits{}, err
	}
	l.Pids = int64(max(s.Pids, 0))
	return l, nil
}

func (l *Limits) setCPU(spec *task.Spec, period time.Duration) error {
	if !(spec.CPU > 0) {
		for i := range spec.Containers {
			l.Shares += min(max(spec.Containers[i].CPU, minShares), maxShares)
		}
		l.Shares = min(max(l.Shares, minShares), maxShares)
		return nil
	}
	if spec.CPU > maxCPU {
		return fmt.Errorf("cgroup resource: unable to build resource spec for task: task CPU limit(%g) is out of range", spec.CPU)
	}
	if period < minPeriod || period > defaultPeriod {
		period = defaultPeriod
	}
	l.Period = period.Microseconds()
	// Decimal fractions of a CPU lie a little beside their value: 0.29 × 100000 is
	// 28999.999….
	l.Quota = max(int64(math.Floor(spec.CPU*float64(l.Period)+1e-6)), minQuota)
	return nil
}

func (l *Limits) setMemory(spec *task.Spec) error {
	if spec.Memory <= 0 {
		return nil
	}
	if spec.Memory > maxMemory {
		return fmt.Errorf("cgroup resource: unable to build resource spec for task: task memory limit(%d) is out of range", spec.Memory)
	}
	for i := range spec.Containers {
		if m := spec.Containers[i].Memory; m > spec.Memory {
			return fmt.Errorf("cgroup resource: unable to build resource spec for task: task memory spec builder: "+
				"container memory limit(%d) greater than task memory limit(%d)", m, spec.Memory)
		}
	}
	l.Memory = spec.Memory * mebibyte
	return nil
}

// weight turns CPU shares (2 to 262144) into the weight of cgroup v2 (1 to 10000),
// so that the default of one is the default of the other: 1024 shares weigh 100, as
// a task with a quota does. The curve is the one that container runtimes use.
func weight(shares int64) int64 {
	l := math.Log2(float64(min(max(shares, minShares), maxShares)))
	exponent := (l*l+125*l)/612 - 7.0/34
	return int64(math.Ceil(math.Pow(10, exponent) - 1e-9))
}

// perSecond is the CPU part of the limits as systemd counts it: µs in each second,
// in whole percents. systemd writes down whole percents only and returns to them
// when it reloads; a fraction is rounded up, for the task to have no less than it
// asked for.
func (l Limits) perSecond() uint64 {
	const percent = 10_000
	us := uint64(l.Quota) * 1_000_000 / uint64(l.Period)
	return (us + percent - 1) / percent * percent
}

// properties are the limits as properties of a systemd slice, for a version of the
// cgroup interface.
func (l Limits) properties(version int) map[string]any {
	p := map[string]any{"CPUAccounting": true, "MemoryAccounting": true}
	if l.Quota > 0 {
		p["CPUQuotaPerSecUSec"] = l.perSecond()
		// The default is not named: systemd before 242 does not know the property.
		if l.Period != defaultPeriod.Microseconds() {
			p["CPUQuotaPeriodUSec"] = uint64(l.Period)
		}
	}
	if l.Pids > 0 {
		p["TasksAccounting"], p["TasksMax"] = true, uint64(l.Pids)
	}
	if l.Shares > 0 && version == 1 {
		p["CPUShares"] = uint64(l.Shares)
	} else if l.Shares > 0 {
		p["CPUWeight"] = uint64(weight(l.Shares))
	}
	if l.Memory > 0 && version == 1 {
		p["MemoryLimit"] = uint64(l.Memory)
	} else if l.Memory > 0 {
		p["MemoryMax"] = uint64(l.Memory)
	}
	return p
}

// setting is a value to write to a file of a cgroup.
type setting struct {
	controller string
	file       string
	value      string
}

// files are the limits as files of a cgroup, in the order in which to write them.
func (l Limits) files(version int) []setting {
	var out []setting
	add := func(controller, file string, value string) {
		out = append(out, setting{controller, controller + "." + file, value})
	}
	if l.Quota > 0 && version == 1 {
		add("cpu", "cfs_period_us", fmt.Sprint(l.Period))
		add("cpu", "cfs_quota_us", fmt.Sprint(l.Quota))
	} else if l.Quota > 0 {
		add("cpu", "max", fmt.Sprintf("%d %d", l.Quota, l.Period))
	}
	if l.Shares > 0 && version == 1 {
		add("cpu", "shares", fmt.Sprint(l.Shares))
	} else if l.Shares > 0 {
		add("cpu", "weight", fmt.Sprint(weight(l.Shares)))
	}
	if l.Memory > 0 && version == 1 {
		add("memory", "limit_in_bytes", fmt.Sprint(l.Memory))
	} else if l.Memory > 0 {
		add("memory", "max", fmt.Sprint(l.Memory))
	}
	if l.Pids > 0 {
		add("pids", "max", fmt.Sprint(l.Pids))
	}
	return out
}
