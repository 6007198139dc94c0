package engine

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

var t0 = time.Unix(1_700_000_000, 0)

func TestDemand(t *testing.T) {
	spec := specOf("one", "a", "b")
	spec.Containers[0].CPU, spec.Containers[0].Memory = 100, 300
	spec.Containers[0].DockerHostConfig = `{"MemoryReservation": 134217728}`
	spec.Containers[1].CPU, spec.Containers[1].Memory = 50, 64
	spec.Containers[1].GPUs = []string{"g1"}
	spec.Containers[1].Ports = []task.PortMapping{
		{ContainerPort: 1, HostPort: 80, Protocol: task.TCP}, {ContainerPort: 2, HostPort: 53, Protocol: task.UDP},
		{ContainerPort: 3, Protocol: task.TCP}, {Range: "10-20", Protocol: task.TCP},
	}
	compare := func(want demand) {
		t.Helper()
		if diff := cmp.Diff(want, demandOf(spec), cmp.AllowUnexported(demand{})); diff != "" {
			t.Error(diff)
		}
	}
	compare(demand{cpu: 150, memory: 192, tcp: []uint16{80}, udp: []uint16{53}, gpus: []string{"g1"}})
	spec.CPU, spec.Memory, spec.NetworkMode = 0.25, 512, "awsvpc"
	compare(demand{cpu: 256, memory: 512, gpus: []string{"g1"}})
}

// grants plays a list of arrivals and returns who may go on at once.
func TestAdmission(t *testing.T) {
	capacity := Capacity{CPU: 100, Memory: 100, GPUs: []string{"g"}, ReservedTCP: []uint16{22}}
	type arrival struct {
		arn   string
		want  demand
		after time.Duration
	}
	tests := []struct {
		name     string
		arrivals []arrival
		granted  []string
		release  string
		then     []string
	}{
		{"exactly full", []arrival{{"a", demand{cpu: 100, memory: 100}, 0}, {"b", demand{cpu: 1}, 0}}, []string{"a"}, "a", []string{"b"}},
		{"memory", []arrival{{"a", demand{memory: 60}, 0}, {"b", demand{memory: 41}, 0}}, []string{"a"}, "a", []string{"b"}},
		{"ports", []arrival{{"a", demand{tcp: []uint16{80}}, 0}, {"b", demand{tcp: []uint16{80}}, 0}, {"c", demand{udp: []uint16{80}}, 0}}, []string{"a", "c"}, "a", []string{"b"}},
		{"reserved port", []arrival{{"a", demand{tcp: []uint16{22}}, 0}, {"b", demand{udp: []uint16{22}}, 0}}, []string{"b"}, "b", nil},
		{"gpu", []arrival{{"a", demand{gpus: []string{"g"}}, 0}, {"b", demand{gpus: []string{"g"}}, 0}}, []string{"a"}, "a", []string{"b"}},
		{"no such gpu", []arrival{{"a", demand{gpus: []string{"x"}}, 0}}, []string{"a: resource cannot be initialized for task a: GPU x does not exist on this container instance"}, "a", nil},
		{"small passes big", []arrival{{"a", demand{cpu: 60}, 0}, {"big", demand{cpu: 80}, 0}, {"c", demand{cpu: 40}, time.Minute}}, []string{"a", "c"}, "a", nil},
		{"not for ever", []arrival{{"a", demand{cpu: 60}, 0}, {"big", demand{cpu: 80}, 0}, {"c", demand{cpu: 40}, 6 * time.Minute}}, []string{"a"}, "a", []string{"big"}},
		{"larger than the host holds nobody up", []arrival{{"huge", demand{cpu: 101}, 0}, {"c", demand{cpu: 40}, time.Hour}}, []string{"c"}, "c", nil},
		{"leaves the queue", []arrival{{"a", demand{cpu: 60}, 0}, {"big", demand{cpu: 80}, 0}, {"c", demand{cpu: 40}, time.Hour}}, []string{"a"}, "big", []string{"c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAdmission(capacity, 5*time.Minute)
				a.start(time.Now())
				var got []string
				start := time.Now()
				for _, x := range tt.arrivals {
					<-time.After(x.after - time.Since(start))
					a.enqueue(x.arn, x.want, time.Now())
					got = append(got, names(a.evaluate(time.Now()))...)
				}
				if diff := cmp.Diff(tt.granted, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.then, names(a.release(tt.release))); diff != "" {
					t.Errorf("after the release: %s", diff)
				}
			})
		})
	}
}

func names(grants []grant) (all []string) {
	for _, g := range grants {
		if g.reason != "" {
			g.arn += ": " + g.reason
		}
		all = append(all, g.arn)
	}
	return all
}

// TestAdmissionAccounts: whatever comes and goes, what is held never exceeds the
// host, asking or releasing twice changes nothing, and nothing leaks.
func TestAdmissionAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAdmission(Capacity{CPU: 100, Memory: 100}, time.Minute)
		a.start(t0)
		now := t0
		var all []string
		for i := range rapid.IntRange(1, 60).Draw(t, "length") {
			now = now.Add(time.Second)
			if len(all) > 0 && rapid.Bool().Draw(t, "release") {
				arn := rapid.SampledFrom(all).Draw(t, "who")
				a.release(arn)
				a.release(arn)
				continue
			}
			d := demand{cpu: rapid.Int64Range(0, 120).Draw(t, "cpu"), memory: rapid.Int64Range(0, 120).Draw(t, "memory")}
			if rapid.Bool().Draw(t, "port") {
				d.tcp = []uint16{rapid.Uint16Range(1, 3).Draw(t, "which")}
			}
			arn := fmt.Sprint(i)
			all = append(all, arn)
			a.enqueue(arn, d, now)
			if g := a.evaluate(now); slices.ContainsFunc(g, func(g grant) bool { return g.arn == arn }) {
				a.enqueue(arn, d, now) // a repeated payload
			}
			if a.cpu.Load() > 100 || a.memory.Load() > 100 {
				t.Fatalf("%d CPU and %d MiB are held", a.cpu.Load(), a.memory.Load())
			}
			for p, n := range a.tcp {
				if n > 1 {
					t.Fatalf("port %d is held %d times", p, n)
				}
			}
		}
		for _, arn := range all {
			a.release(arn)
		}
		if a.cpu.Load() != 0 || a.memory.Load() != 0 || len(a.tcp)+len(a.held)+len(a.queue)+len(a.queued)+len(a.refused) != 0 {
			t.Fatalf("left over: %+v", a)
		}
	})
}

// TestQueuedTasks: A10 and, as this agent does it, A11 of docs/spec/02 chapter 13.
func TestQueuedTasks(t *testing.T) {
	in(t, nil, func(r *rig) {
		first, big, small := specOf("first", "app"), specOf("big", "app"), specOf("small", "app")
		first.CPU, big.CPU, small.CPU = 1, 1.5, 0.5
		r.run(first)
		r.run(big)
		r.run(small)
		r.want(first, task.Running)
		r.want(small, task.Running)
		r.want(big, task.None)
		r.stopTask(first)
		r.stopTask(small)
		r.want(big, task.Running)

		r.run(specOf2("next", 1.5))
		calls := len(r.docker.Calls())
		r.stopTask(specOf2("next", 1.5))
		st := r.want(specOf2("next", 1.5), task.Stopped)
		if len(r.docker.Calls()) != calls || st.TerminalReason != "" || st.Containers[0].ExitCode != nil {
			t.Errorf("state %+v, calls %v", st, r.docker.Calls()[calls:])
		}
	})
}

func specOf2(id string, cpu float64) *task.Spec {
	s := specOf(id, "app")
	s.CPU = cpu
	return s
}

// TestRestoredTasksAreAccounted: what runs keeps its place, whoever waits goes on
// waiting.
func TestRestoredTasksAreAccounted(t *testing.T) {
	in(t, nil, func(r *rig) {
		running, waiting := specOf2("running", 1.5), specOf2("waiting", 1)
		r.run(running)
		r.run(waiting)
		r.stop()
		r.start()
		r.want(running, task.Running)
		r.want(waiting, task.None)
		r.stopTask(running)
		r.want(waiting, task.Running)
	})
}

// BenchmarkAdmission1000 is 2,000 event batches: 1,000 tasks come one by one to a
// host that takes 64 of them, and go one by one.
func BenchmarkAdmission1000(b *testing.B) {
	for name, want := range map[string]func(i int) demand{
		"alike": func(int) demand { return demand{cpu: 64, memory: 64} },
		// The least of them all is small in CPU or in memory, never in both, so that
		// most evaluations look at the whole queue.
		"mixed": func(i int) demand {
			if i%2 == 0 {
				return demand{cpu: 1, memory: int64(100 + i%7)}
			}
			return demand{cpu: int64(100 + i%5), memory: 1}
		},
	} {
		b.Run(name, func(b *testing.B) {
			arns := make([]string, 1000)
			for i := range arns {
				arns[i] = arnOf(fmt.Sprint(i))
			}
			for b.Loop() {
				a := newAdmission(Capacity{CPU: 4096, Memory: 4096}, time.Hour)
				a.start(t0)
				for i, arn := range arns {
					a.enqueue(arn, want(i), t0.Add(time.Duration(i)))
					a.evaluate(t0)
				}
				for _, arn := range arns {
					a.release(arn)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/batch")
		})
	}
}

// TestAdmissionGrantsAll: as long as nobody waits too long, whoever fits is granted
// at once, whatever shortcuts an evaluation takes.
func TestAdmissionGrantsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now() // as release does
		a := newAdmission(Capacity{CPU: 100, Memory: 100}, time.Hour)
		a.start(now)
		for i := range rapid.IntRange(1, 60).Draw(t, "length") {
			if i > 0 && rapid.Bool().Draw(t, "release") {
				a.release(fmt.Sprint(rapid.IntRange(0, i-1).Draw(t, "who")))
			} else {
				a.enqueue(fmt.Sprint(i), demand{cpu: rapid.Int64Range(0, 120).Draw(t, "cpu"), memory: rapid.Int64Range(0, 120).Draw(t, "memory")}, now)
				a.evaluate(now)
			}
			for _, w := range a.queue {
				if a.fits(&w.want) {
					t.Fatalf("%+v waits although it fits: %d CPU and %d MiB are held", *w, a.cpu.Load(), a.memory.Load())
				}
			}
		}
	})
}
