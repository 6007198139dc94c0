package stats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// fakeSource is a host whose containers use what a test says.
type fakeSource struct {
	mu       sync.Mutex
	used     map[string]stats.Sample // by id; one that is missing cannot be opened
	task     map[string]stats.Network
	fail     error
	open     int
	opens    int
	reads    int
	whole    []bool // of the readings
	asked    []stats.Target
	netAsked int
	netMACs  []string
}

func (f *fakeSource) Host(context.Context) (stats.Host, error) {
	return stats.Host{CPUTime: 1000, CPUs: 4}, nil
}

func (f *fakeSource) Open(_ context.Context, t stats.Target) (stats.Meter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opens++
	f.asked = append(f.asked, t)
	if _, ok := f.used[t.ID]; !ok {
		return nil, errors.New("no such cgroup")
	}
	f.open++
	return &fakeMeter{f, t.ID}, nil
}

func (f *fakeSource) TaskNetwork(_ context.Context, t stats.Target) (map[string]stats.Network, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.netAsked++
	f.netMACs = t.MACs
	return map[string]stats.Network{"eni": f.task["eni"]}, f.fail
}

// set changes what a container has used.
func (f *fakeSource) set(id string, change func(*stats.Sample)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.used[id]
	change(&s)
	f.used[id] = s
}

// lose makes a container's cgroup go away.
func (f *fakeSource) lose(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.used, id)
}

// setTask sets the counters of the task's network.
func (f *fakeSource) setTask(n map[string]stats.Network) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.task = n
}

type fakeMeter struct {
	f  *fakeSource
	id string
}

func (m *fakeMeter) Read(_ context.Context, whole bool) (*stats.Sample, error) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.reads++
	m.f.whole = append(m.f.whole, whole)
	s, ok := m.f.used[m.id]
	if !ok || m.f.fail != nil {
		return nil, errors.Join(errors.New("gone"), m.f.fail)
	}
	if s.Read.IsZero() {
		s.Read = time.Now()
	} else {
		s.Read = time.Time{}
	}
	if n, ok := s.Networks["eth0"]; ok {
		s.Networks = map[string]stats.Network{"eth0": n}
	}
	return &s, nil
}

func (m *fakeMeter) Close() {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.open--
}

// rig runs a Collector in a bubble.
type rig struct {
	*stats.Collector
	t      *testing.T
	source *fakeSource
	spec   *task.Spec
	state  task.State
}

func inBubble(t *testing.T, o stats.Options, spec *task.Spec, fn func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, source: &fakeSource{used: make(map[string]stats.Sample)}, spec: spec}
		for i := range spec.Containers {
			id := fmt.Sprint("id", i)
			r.state.Containers = append(r.state.Containers, task.ContainerState{
				Known: task.ContainerRunning, RuntimeID: id, DockerName: "ecs-" + spec.Containers[i].Name,
			})
			r.source.used[id] = stats.Sample{Memory: stats.Memory{Usage: 10 << 20}}
		}
		r.state.Known = task.Running
		o.Source, o.Log = r.source, zap.NewNop()
		r.Collector = stats.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		r.tell()
		fn(r)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if r.source.open != 0 {
			t.Errorf("%d meters are open after the end", r.source.open)
		}
	})
}

func (r *rig) tell() {
	r.Observe(r.state.Snapshot(r.spec))
	synctest.Wait()
}

// after lets time pass.
func (r *rig) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) stats(id string) *stats.Response {
	r.t.Helper()
	got, tracked := r.Stats(id)
	if got == nil || !tracked {
		r.t.Fatalf("no stats of %s, tracked %t", id, tracked)
	}
	return got
}

func newSpec(mode string, names ...string) *task.Spec {
	s := &task.Spec{ARN: "arn:aws:ecs:us-west-2:1:task/c/t1", Family: "web", Version: "7", NetworkMode: mode}
	for _, name := range names {
		s.Containers = append(s.Containers, task.Container{Name: name})
	}
	return s
}

// burn adds CPU time, in ns, and traffic.
func burn(cpu, bytes uint64) func(*stats.Sample) {
	return func(s *stats.Sample) {
		s.CPU.Usage.Total += cpu
		n := s.Networks["eth0"]
		n.RxBytes += bytes
		n.TxBytes += 2 * bytes
		s.Networks = map[string]stats.Network{"eth0": n}
	}
}

// What telemetry does not tell of is read every ten seconds, and always while somebody
// looks.
func TestWholeReadings(t *testing.T) {
	inBubble(t, stats.Options{}, newSpec("bridge", "app"), func(r *rig) {
		whole := func() (at []int) {
			for i, whole := range r.source.whole {
				if whole {
					at = append(at, i)
				}
			}
			r.source.whole = nil
			return at
		}
		r.after(25*time.Second + time.Second/2)
		if got := whole(); !slices.Equal(got, []int{0, 10, 20}) {
			t.Errorf("whole are the readings after %v s", got)
		}
		r.stats("id0") // at 25.5 s: those at 26 to 55 s
		r.after(45 * time.Second)
		want := []int{39} // at 65 s
		for i := range 30 {
			want = slices.Insert(want, i, i)
		}
		if got := whole(); !slices.Equal(got, want) {
			t.Errorf("whole are the readings %v after somebody looked, want %v", got, want)
		}
	})
}

func TestLatestSample(t *testing.T) {
	inBubble(t, stats.Options{}, newSpec("bridge", "app"), func(r *rig) {
		first := r.stats("id0")
		if first.ID != "id0" || first.Name != "/ecs-app" || first.CPU.Online != 4 || first.CPU.System != 1000 || !first.PreRead.IsZero() || first.Rates != nil {
			t.Errorf("first sample %+v", first)
		}
		r.source.set("id0", burn(4e8, 500))
		r.after(time.Second)
		r.source.set("id0", burn(4e8, 500))
		r.after(time.Second)
		second := r.stats("id0")
		if second.Read.Sub(second.PreRead) != time.Second || second.PreCPU.Usage.Total != 4e8 || second.CPU.Usage.Total != 8e8 {
			t.Errorf("second sample %+v", second)
		}
		if d := cmp.Diff(&stats.NetworkRates{Rx: 500, Tx: 1000}, second.Rates); d != "" {
			t.Error(d)
		}
		if got, tracked := r.Stats("other"); got != nil || tracked {
			t.Error("a container that is not known has stats")
		}
		r.state.Containers[0].Known = task.ContainerStopped
		r.tell()
		if got, tracked := r.Stats("id0"); got != nil || tracked {
			t.Error("a stopped container has stats")
		}
		r.state.Containers[0].Known = task.ContainerRunning
		r.tell()
		r.stats("id0")
		r.Gone(r.spec.ARN)
		synctest.Wait()
		if got, tracked := r.Stats("id0"); got != nil || tracked || !r.Round().Idle {
			t.Error("a container of a task that is gone has stats")
		}
		reads := r.source.reads
		r.after(time.Minute)
		if r.source.reads != reads {
			t.Error("it is read after its end")
		}
	})
}

// The JSON of a container that cannot be read yet is no object of zeros.
func TestTrackedWithoutSample(t *testing.T) {
	inBubble(t, stats.Options{}, newSpec("bridge", "app"), func(r *rig) {
		r.state.Containers[0].RuntimeID = "late"
		r.tell()
		if got, tracked := r.Stats("late"); got != nil || !tracked {
			t.Errorf("%+v, tracked %t", got, tracked)
		}
		opens := r.source.opens
		r.after(20 * time.Second)
		if n := r.source.opens - opens; n < 3 || n > 8 {
			t.Errorf("opened %d times in 20 s", n)
		}
		r.source.set("late", burn(1, 1))
		r.after(16 * time.Second)
		r.stats("late")
	})
}

// A round holds each sample once: nine seconds of work make nine measurements.
func TestRounds(t *testing.T) {
	inBubble(t, stats.Options{}, newSpec("bridge", "app"), func(r *rig) {
		if got := r.Round(); got.Idle || len(got.Tasks) != 0 {
			t.Errorf("after one sample: %+v", got)
		}
		for range 9 {
			r.source.set("id0", func(s *stats.Sample) {
				burn(8e8, 100)(s)
				s.Block.ServiceBytes = []stats.BlockEntry{{Op: "Read", Value: 5}, {Op: "write", Value: 7}, {Op: "Sync", Value: 9}}
			})
			r.after(time.Second)
		}
		got := r.Round()
		if len(got.Tasks) != 1 || len(got.Tasks[0].Containers) != 1 {
			t.Fatalf("%+v", got)
		}
		if u := got.Tasks[0]; u.ARN != r.spec.ARN || u.Family != "web" || u.Version != "7" {
			t.Errorf("task %+v", u)
		}
		want := stats.ContainerUsage{
			Name: "app", CPU: stats.FloatSet{Min: 20, Max: 20, Sum: 180, Count: 9},
			Memory: stats.FloatSet{Min: 10, Max: 10, Sum: 100, Count: 10},
			Read:   stats.CountSet{Max: 5, SumLo: 45, Count: 10}, Written: stats.CountSet{Max: 7, SumLo: 63, Count: 10},
			Network: &stats.NetworkSets{
				RxBytes: stats.CountSet{Min: 100, Max: 900, SumLo: 4500, Count: 9}, TxBytes: stats.CountSet{Min: 200, Max: 1800, SumLo: 9000, Count: 9},
				RxRate: stats.FloatSet{Min: 100, Max: 100, Sum: 800, Count: 8}, TxRate: stats.FloatSet{Min: 200, Max: 200, Sum: 1600, Count: 8},
			},
		}
		ignoreZero := cmp.FilterValues(func(a, b stats.CountSet) bool { return a.Max == 0 && b.Max == 0 }, cmp.Ignore())
		if d := cmp.Diff(want, got.Tasks[0].Containers[0], ignoreZero); d != "" {
			t.Error(d)
		}
		if again := r.Round(); len(again.Tasks) != 0 {
			t.Errorf("the same samples again: %+v", again.Tasks)
		}
		r.after(time.Second)
		if next := r.Round().Tasks[0].Containers[0]; next.CPU.Count != 1 || next.Memory.Count != 1 {
			t.Errorf("next round %+v", next)
		}
		r.state.Containers[0].Known, r.state.Known = task.ContainerStopped, task.Stopped
		r.tell()
		if got := r.Round(); !got.Idle || len(got.Tasks) != 0 {
			t.Errorf("after the end: %+v", got)
		}
	})
}

// Samples that cannot be right are dropped, and what is right goes on.
func TestBadSamples(t *testing.T) {
	inBubble(t, stats.Options{}, newSpec("bridge", "app"), func(r *rig) {
		r.source.set("id0", burn(1e9, 0))
		r.after(time.Second)
		good := r.stats("id0")
		r.source.set("id0", func(s *stats.Sample) { s.CPU.Usage.Total = 5 })
		r.after(2 * time.Second)
		if got := r.stats("id0"); !got.Read.Equal(good.Read) {
			t.Errorf("a counter that went backwards was published: %+v", got)
		}
		r.source.set("id0", func(s *stats.Sample) { s.CPU.Usage.Total = 2e9 })
		r.after(time.Second)
		if got := r.stats("id0"); got.PreCPU.Usage.Total != 1e9 || got.CPU.Usage.Total != 2e9 {
			t.Errorf("%+v", got)
		}
		r.source.set("id0", func(s *stats.Sample) { s.Read = time.Now() })
		r.after(2 * time.Second)
		if got := r.stats("id0"); got.CPU.Usage.Total != 2e9 || got.Read.IsZero() {
			t.Errorf("a sample without a time was published: %+v", got)
		}
		// Somebody else started it anew: after a while that is taken as it is.
		r.source.set("id0", func(s *stats.Sample) { s.Read, s.CPU.Usage.Total = time.Time{}, 7 })
		r.after(20 * time.Second)
		if got := r.stats("id0"); got.CPU.Usage.Total != 7 {
			t.Errorf("%+v", got)
		}
	})
}

// After a restart the counters go on from where they were.
func TestRestart(t *testing.T) {
	spec := newSpec("bridge", "app")
	spec.Containers[0].Restart = &task.RestartPolicy{Enabled: true}
	bases := &memoryBases{}
	inBubble(t, stats.Options{Bases: bases}, spec, func(r *rig) {
		r.source.set("id0", func(s *stats.Sample) {
			burn(4e9, 1000)(s)
			s.CPU.Usage.PerCPU, s.CPU.Throttling = []uint64{1, 2, 3}, stats.Throttling{Periods: 1, Throttled: 2, Time: 3}
			s.Memory.Max, s.Memory.Failures = 99, 4
			s.Block.Serviced = []stats.BlockEntry{{Major: 8, Op: "Read", Value: 5}, {Major: 9, Op: "Read", Value: 6}}
			s.Block.Queue = []stats.BlockEntry{{Major: 8, Op: "Read", Value: 5}}
		})
		r.after(time.Second)
		if n := r.Round().Tasks[0].Containers[0].Restarts; n == nil || *n != 0 {
			t.Errorf("restarts %v", n)
		}
		// It exits: its cgroup is gone, then a new one is there.
		r.source.lose("id0")
		r.after(time.Second)
		r.state.Containers[0].RestartCount = 1
		r.tell()
		r.after(time.Second)
		r.source.set("id0", func(s *stats.Sample) {
			burn(1e9, 10)(s)
			s.CPU.Usage.PerCPU, s.CPU.Throttling = []uint64{10, 20}, stats.Throttling{Periods: 10, Throttled: 20, Time: 30}
			s.Memory.Max, s.Memory.Failures = 50, 1
			s.Block.Serviced = []stats.BlockEntry{{Major: 9, Op: "Read", Value: 1}, {Major: 7, Op: "Read", Value: 2}}
			s.Block.Queue = []stats.BlockEntry{{Major: 8, Op: "Read", Value: 1}}
		})
		r.after(3 * time.Second)
		got := r.stats("id0")
		want := stats.CPU{
			Usage: stats.CPUUsage{Total: 5e9, PerCPU: []uint64{11, 22, 3}}, System: 1000, Online: 4,
			Throttling: stats.Throttling{Periods: 11, Throttled: 22, Time: 33},
		}
		if d := cmp.Diff(want, got.CPU); d != "" {
			t.Error(d)
		}
		if n := got.Networks["eth0"]; n.RxBytes != 1010 || n.TxBytes != 2020 {
			t.Errorf("network %+v", n)
		}
		if got.Memory.Max != 99 || got.Memory.Failures != 5 {
			t.Errorf("memory %+v", got.Memory)
		}
		if d := cmp.Diff([]stats.BlockEntry{{Major: 8, Op: "Read", Value: 5}, {Major: 9, Op: "Read", Value: 7}, {Major: 7, Op: "Read", Value: 2}}, got.Block.Serviced); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]stats.BlockEntry{{Major: 8, Op: "Read", Value: 1}}, got.Block.Queue); d != "" {
			t.Error(d)
		}
		if n := r.Round().Tasks[0].Containers[0].Restarts; n == nil || *n != 1 {
			t.Errorf("restarts %v", n)
		}
		saved, _ := bases.LoadBase("id0")
		if saved == nil || saved.Restarts != 1 || saved.Sample.CPU.Usage.Total != 4e9 {
			t.Errorf("saved %+v", saved)
		}
	})
	// A new process of the agent goes on with what was saved.
	spec2 := *spec
	inBubble(t, stats.Options{Bases: bases}, &spec2, func(r *rig) {
		r.state.Containers[0].Known = task.ContainerStopped
		r.tell() // not yet known to have been restarted
	})
	if saved, _ := bases.LoadBase("id0"); saved == nil {
		t.Fatal("the base is gone")
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{used: map[string]stats.Sample{"id0": {CPU: stats.CPU{Usage: stats.CPUUsage{Total: 2e9}}}}}
		c := stats.New(stats.Options{Source: f, Log: zap.NewNop(), Bases: bases})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		state := task.State{Known: task.Running, Containers: []task.ContainerState{{Known: task.ContainerRunning, RuntimeID: "id0", RestartCount: 1}}}
		c.Observe(state.Snapshot(spec))
		synctest.Wait()
		if got, _ := c.Stats("id0"); got == nil || got.CPU.Usage.Total != 6e9 {
			t.Errorf("%+v", got)
		}
		state.Known = task.Stopped
		c.Observe(state.Snapshot(spec))
		synctest.Wait()
		if saved, _ := bases.LoadBase("id0"); saved != nil {
			t.Error("the base outlives the container")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

type memoryBases struct{ saved map[string]*stats.Base }

func (b *memoryBases) SaveBase(id string, base *stats.Base) error {
	if b.saved == nil {
		b.saved = make(map[string]*stats.Base)
	}
	b.saved[id] = base
	return nil
}
func (b *memoryBases) LoadBase(id string) (*stats.Base, error) { return b.saved[id], nil }
func (b *memoryBases) DeleteBase(id string) error              { delete(b.saved, id); return nil }

// The containers of a task with interfaces of its own show the same counters; the
// one that holds the network does not tell ECS of them.
func TestTaskNetworks(t *testing.T) {
	spec := newSpec("awsvpc", "~internal~ecs~pause", "a", "b")
	spec.Containers[0].Type = task.CNIPause
	spec.ENIs = []task.ENI{{MAC: "06:1f:2e:3d:4c:5b"}}
	inBubble(t, stats.Options{}, spec, func(r *rig) {
		r.state.Containers[0].Known = task.ContainerResourcesProvisioned
		r.tell()
		for _, target := range r.source.asked {
			if target.OwnNetwork {
				t.Errorf("%+v is thought to have a network of its own", target)
			}
		}
		r.source.setTask(map[string]stats.Network{"eni": {RxBytes: 1000, TxBytes: 10}})
		r.after(5 * time.Second)
		if got := r.stats("id1"); got.Networks != nil || got.Rates != nil {
			t.Errorf("counters before one interval: %+v", got.Networks)
		}
		r.after(7 * time.Second)
		if got := r.stats("id1"); got.Networks["eni"].RxBytes != 1000 || got.Rates != nil {
			t.Errorf("counters after one interval: %+v, %+v", got.Networks, got.Rates)
		}
		if got := r.Round().Tasks[0].Containers[1]; got.Network != nil {
			t.Errorf("one sample makes a set: %+v", got.Network)
		}
		r.source.setTask(map[string]stats.Network{"eni": {RxBytes: 3000, TxBytes: 20}})
		r.after(10 * time.Second)
		for _, id := range []string{"id0", "id1", "id2"} {
			got := r.stats(id)
			if d := cmp.Diff(&stats.NetworkRates{Rx: 200, Tx: 1}, got.Rates); d != "" || got.Networks["eni"].RxBytes != 3000 {
				t.Errorf("%s: %+v %s", id, got.Networks, d)
			}
		}
		if !slices.Equal(r.source.netMACs, []string{"06:1f:2e:3d:4c:5b"}) {
			t.Errorf("asked for the interfaces %q", r.source.netMACs)
		}
		round := r.Round().Tasks[0].Containers
		if round[0].Network != nil {
			t.Error("the pause container tells of the traffic")
		}
		for _, u := range round[1:] {
			if u.Network == nil || u.Network.RxBytes.Count != 1 || u.Network.RxRate.Sum != 200 {
				t.Errorf("%s: %+v", u.Name, u.Network)
			}
		}
		r.after(time.Second)
		if got := r.Round().Tasks[0].Containers[1]; got.Network != nil {
			t.Errorf("a sample is told twice: %+v", got.Network)
		}
	})
}

func TestNetworkModes(t *testing.T) {
	for mode, own := range map[string]bool{"bridge": true, "": true, "host": false, "none": false, "awsvpc": false} {
		inBubble(t, stats.Options{}, newSpec(mode, "app"), func(r *rig) {
			if got := r.source.asked[0]; got.OwnNetwork != own || got.ID != "id0" || got.TaskID != "t1" {
				t.Errorf("%q: %+v", mode, got)
			}
		})
	}
}

// An idle host is not woken, and one with tasks once a second.
func TestNoTimerWithoutContainers(t *testing.T) {
	spec := newSpec("bridge", "app")
	inBubble(t, stats.Options{}, spec, func(r *rig) {
		r.after(time.Minute)
		if r.source.reads != 61 {
			t.Errorf("%d readings in a minute", r.source.reads)
		}
	})
	spec = newSpec("bridge", "app")
	spec.Family = "" // not a task that ECS knows by name
	inBubble(t, stats.Options{}, spec, func(r *rig) {
		r.after(time.Minute)
		if r.source.reads != 0 {
			t.Errorf("%d readings", r.source.reads)
		}
	})
}

// What an endpoint shows is Docker's object: keys, order, and what is left out.
func TestResponseJSON(t *testing.T) {
	text, err := json.Marshal(&stats.Response{Sample: stats.Sample{Block: stats.Block{Queue: []stats.BlockEntry{}}}})
	if err != nil {
		t.Fatal(err)
	}
	cpu := `{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}}`
	want := `{"read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z","pids_stats":{},` +
		`"blkio_stats":{"io_service_bytes_recursive":null,"io_serviced_recursive":null,"io_queue_recursive":[],"io_service_time_recursive":null,` +
		`"io_wait_time_recursive":null,"io_merged_recursive":null,"io_time_recursive":null,"sectors_recursive":null},` +
		`"num_procs":0,"storage_stats":{},"cpu_stats":` + cpu + `,"precpu_stats":` + cpu + `,"memory_stats":{}}`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	rates, err := json.Marshal(&stats.Response{Rates: &stats.NetworkRates{Rx: 41.5, Tx: 112.25}})
	if end := `,"network_rate_stats":{"rx_bytes_per_sec":41.5,"tx_bytes_per_sec":112.25}}`; err != nil || !strings.HasSuffix(string(rates), end) {
		t.Errorf("%v: %s", err, rates)
	}
}

// Windows counts in other units and fields.
func TestWindows(t *testing.T) {
	inBubble(t, stats.Options{Windows: true}, newSpec("default", "app"), func(r *rig) {
		for range 2 {
			r.source.set("id0", func(s *stats.Sample) {
				s.CPU.Usage.Total += 4e6 // 0.4 s in units of 100 ns
				s.Memory.PrivateWorkingSet = 5<<20 + 7
				s.Storage.ReadBytes, s.Storage.WriteBytes = 11, 12
			})
			r.after(time.Second)
		}
		got := r.Round().Tasks[0].Containers[0]
		if got.CPU.Max != 10 || got.Memory.Max != 5 || got.Read.Max != 11 || got.Written.Max != 12 {
			t.Errorf("%+v", got)
		}
	})
}
