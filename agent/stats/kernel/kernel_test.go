package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/stats"
)

const id = "3f1b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809"

// host is a made-up host: the files of its kernel.
type host struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T, files ...map[string]string) host {
	h := host{t, t.TempDir()}
	h.write(map[string]string{"proc/stat": "cpu  10 20 30 40 50 60 70 80 90 0\ncpu0 1 2 3 4 5 6 7\ncpu1 1 2 3 4 5 6 7\nintr 1\n"})
	for _, f := range files {
		h.write(f)
	}
	return h
}

func (h host) write(files map[string]string) {
	h.t.Helper()
	for name, text := range files {
		name = filepath.Join(h.root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h host) source(version int) *Source {
	s := New(Options{
		Cgroup: filepath.Join(h.root, "cgroup"), Proc: filepath.Join(h.root, "proc"), Version: version, Memory: 1 << 34,
		Devices: func(int) ([]string, error) { return []string{"eni1", "vlan7"}, nil },
	})
	h.t.Cleanup(s.Close)
	return s
}

func (h host) read(version int, target stats.Target) (*stats.Sample, error) {
	h.t.Helper()
	m, err := h.source(version).Open(context.Background(), target)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Read(context.Background(), true)
}

// below puts files into a cgroup.
func below(dir string, files map[string]string) map[string]string {
	out := make(map[string]string)
	for name, text := range files {
		out["cgroup/"+dir+"/"+name] = text
	}
	return out
}

var unified = map[string]string{
	"cgroup.procs":   "41\n42\n",
	"cpu.stat":       "usage_usec 512345\nuser_usec 410000\nsystem_usec 102345\nnr_periods 7\nnr_throttled 3\nthrottled_usec 900\n",
	"memory.current": "27262976\n", "memory.max": "max\n",
	"memory.stat":   "anon 11534336\nfile 13107200\nkernel 1\ninactive_file 9437184\nactive_anon 8192\n",
	"memory.events": "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\n",
	"io.stat":       "259:0 rbytes=1187840 wbytes=4096 rios=2 wios=1 dbytes=0 dios=0\n8:0\n",
	"pids.current":  "5\n", "pids.max": "max\n",
}

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       9       9    9    9    0     0          0         0        9       9    9    9    0     0       0          0
 tunl0:       9       9    9    9    0     0          0         0        9       9    9    9    0     0       0          0
  eth0:   84120     612    1    2    0     0          0         0   120934     590    3    4    0     0       0          0
  eni1:      10      20   30   40    0     0          0         0       50      60   70   80    0     0       0          0
vlan7:1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0
`

func processes() map[string]string {
	return map[string]string{
		"proc/41/status": "Name:\tsh\nNSpid:\t41\t9\n", "proc/42/status": "Name:\tapp\nNSpid:\t42\t1\nFoo:\n",
		"proc/41/net/dev": strings.Replace(netDev, "84120", "1", 1), "proc/42/net/dev": netDev,
	}
}

// TestUnified is the example of docs/spec/04 section 3.12, with throttling.
func TestUnified(t *testing.T) {
	h := newHost(t, below("system.slice/docker-"+id+".scope", unified), processes())
	s, err := h.read(2, stats.Target{ID: id, OwnNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Read.IsZero() {
		t.Error("no time")
	}
	want := &stats.Sample{
		Read: s.Read,
		Pids: stats.Pids{Current: 5, Limit: 18446744073709551615},
		Block: stats.Block{ServiceBytes: []stats.BlockEntry{
			{Major: 259, Op: "read", Value: 1187840}, {Major: 259, Op: "write", Value: 4096},
		}},
		CPU: stats.CPU{
			Usage:      stats.CPUUsage{Total: 512345000, Kernel: 102345000, User: 410000000},
			Throttling: stats.Throttling{Periods: 7, Throttled: 3, Time: 900000},
		},
		Memory: stats.Memory{Usage: 27262976, Failures: 2, Limit: 1 << 34},
		Networks: map[string]stats.Network{"eth0": {
			RxBytes: 84120, RxPackets: 612, RxErrors: 1, RxDropped: 2, TxBytes: 120934, TxPackets: 590, TxErrors: 3, TxDropped: 4,
		}},
	}
	equal(t, s, want)
	wantMemory(t, s, map[string]uint64{"anon": 11534336, "file": 13107200, "inactive_file": 9437184, "active_anon": 8192, "slab": 0})
	if _, ok := s.Memory.Stats.Get("kernel"); ok {
		t.Error("a key that Docker does not show is shown")
	}
}

func equal(t *testing.T, got, want *stats.Sample) {
	t.Helper()
	plain := *got
	plain.Memory.Stats = stats.Details{}
	if d := cmp.Diff(want, &plain, cmp.Comparer(func(a, b stats.Details) bool { return a.IsZero() == b.IsZero() })); d != "" {
		t.Error(d)
	}
}

func wantMemory(t *testing.T, s *stats.Sample, want map[string]uint64) {
	t.Helper()
	for key, value := range want {
		if got, ok := s.Memory.Stats.Get(key); !ok || got != value {
			t.Errorf("memory %s is %d, %t, want %d", key, got, ok, value)
		}
	}
}

// legacy is a host of cgroup v1; cpu and cpuacct may be one hierarchy.
func legacy(dir, cpu, acct string) map[string]string {
	files := make(map[string]string)
	maps.Copy(files, below(cpu+"/"+dir, map[string]string{"cpu.stat": "nr_periods 46\nnr_throttled 44\nthrottled_time 3581203158\nnr_bursts 0\n"}))
	maps.Copy(files, below(acct+"/"+dir, map[string]string{
		"cpuacct.usage": "492430086\n", "cpuacct.usage_percpu": "294283980 198146106 \n", "cpuacct.stat": "user 40\nsystem 8\n",
	}))
	maps.Copy(files, below("memory/"+dir, map[string]string{
		"cgroup.procs": "42\n", "memory.usage_in_bytes": "21909504\n", "memory.max_usage_in_bytes": "23326720\n",
		"memory.failcnt": "6\n", "memory.limit_in_bytes": "67108864\n",
		"memory.stat": "cache 20971520\nrss 69632\nshmem 5\ninactive_file 7\nhierarchical_memsw_limit 134217728\ntotal_cache 20971520\n",
	}))
	maps.Copy(files, below("pids/"+dir, map[string]string{"pids.current": "3\n", "pids.max": "max\n"}))
	maps.Copy(files, below("blkio/"+dir, map[string]string{
		"blkio.throttle.io_service_bytes": "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Weird 2\nTotal 12288\n",
		"blkio.throttle.io_serviced":      "8:0 Read 1\nTotal 1\n",
	}))
	return files
}

func TestLegacy(t *testing.T) {
	for _, cpu := range [][2]string{{"cpu", "cpuacct"}, {"cpu,cpuacct", "cpu,cpuacct"}} {
		h := newHost(t, legacy("docker/"+id, cpu[0], cpu[1]), processes())
		s, err := h.read(1, stats.Target{ID: id, OwnNetwork: true})
		if err != nil {
			t.Fatal(err)
		}
		none := []stats.BlockEntry{}
		equal(t, s, &stats.Sample{
			Read: s.Read, Pids: stats.Pids{Current: 3},
			Block: stats.Block{
				ServiceBytes: []stats.BlockEntry{
					{Major: 8, Op: "Read", Value: 4096}, {Major: 8, Op: "Write", Value: 8192},
					{Major: 8, Op: "Sync", Value: 1}, {Major: 8, Op: "Weird", Value: 2},
				},
				Serviced: []stats.BlockEntry{{Major: 8, Op: "Read", Value: 1}},
				Queue:    none, ServiceTime: none, WaitTime: none, Merged: none, Time: none, Sectors: none,
			},
			CPU: stats.CPU{
				Usage:      stats.CPUUsage{Total: 492430086, PerCPU: []uint64{294283980, 198146106}, Kernel: 80000000, User: 400000000},
				Throttling: stats.Throttling{Periods: 46, Throttled: 44, Time: 3581203158},
			},
			Memory: stats.Memory{Usage: 21909504, Max: 23326720, Failures: 6, Limit: 67108864},
			Networks: map[string]stats.Network{"eth0": {
				RxBytes: 84120, RxPackets: 612, RxErrors: 1, RxDropped: 2, TxBytes: 120934, TxPackets: 590, TxErrors: 3, TxDropped: 4,
			}},
		})
		wantMemory(t, s, map[string]uint64{"cache": 20971520, "rss": 69632, "hierarchical_memsw_limit": 134217728, "total_rss": 0})
	}
}

// CFQ's lists come before those of the throttling layer.
func TestLegacyCFQ(t *testing.T) {
	h := newHost(t, legacy("docker/"+id, "cpu", "cpuacct"), below("blkio/docker/"+id, map[string]string{
		"blkio.io_service_bytes_recursive": "8:0 Read 7\nTotal 7\n", "blkio.io_serviced_recursive": "Total 0\n",
		"blkio.sectors_recursive": "8:0 99\n",
	}))
	s, err := h.read(1, stats.Target{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  []stats.BlockEntry
		want []stats.BlockEntry
	}{
		{"service bytes", s.Block.ServiceBytes, []stats.BlockEntry{{Major: 8, Op: "Read", Value: 7}}},
		{"serviced", s.Block.Serviced, []stats.BlockEntry{{Major: 8, Op: "Read", Value: 1}}},
		{"sectors", s.Block.Sectors, []stats.BlockEntry{{Major: 8, Value: 99}}},
	} {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	if s.Networks != nil {
		t.Error("networks of a container that has none of its own")
	}
}

func TestLocate(t *testing.T) {
	const taskID = "aaaa-bbbb"
	for _, dir := range []string{
		"docker/" + id, "system.slice/docker-" + id + ".scope", "ecs/" + taskID + "/" + id,
		`ecstasks.slice/ecstasks-aaaa\x2dbbbb.slice/docker-` + id + ".scope",
		"some/where/else/" + id, "kubepods/libpod-" + id + ".scope", "docker.slice/outer/docker/" + id,
	} {
		if runtime.GOOS == "windows" && strings.Contains(dir, `\`) {
			continue
		}
		h := newHost(t, below(dir, unified))
		if _, err := h.read(2, stats.Target{ID: id, TaskID: taskID}); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	h := newHost(t, below("some/where/else/"+id, unified))
	if _, err := h.read(2, stats.Target{ID: id, TaskID: taskID, Again: true}); !errors.Is(err, errNoCgroup) {
		t.Errorf("a container that was known before is looked for everywhere: %v", err)
	}
	other := strings.Replace(id, "3", "4", 1)
	h = newHost(t, below("some/where/else/"+id, unified), below("some/where/else/"+other, unified))
	s := h.source(2)
	for _, target := range []stats.Target{{ID: other, TaskID: taskID}, {ID: id, TaskID: taskID, Again: true}} {
		m, err := s.Open(t.Context(), target)
		if err != nil {
			t.Fatalf("where another was found: %v", err)
		}
		m.Close()
	}
	h = newHost(t, below("docker/"+other, unified))
	if _, err := h.read(2, stats.Target{ID: id, TaskID: taskID}); !errors.Is(err, errNoCgroup) {
		t.Errorf("a cgroup that is not there: %v", err)
	}
	for _, bad := range []string{"", "..", "a/b", "../../../../etc", "abc"} {
		if _, err := h.read(2, stats.Target{ID: bad}); err == nil {
			t.Errorf("id %q was taken", bad)
		}
		if _, err := h.read(2, stats.Target{ID: id, TaskID: bad}); !errors.Is(err, errNoCgroup) {
			t.Errorf("task id %q: %v", bad, err)
		}
	}
}

// What is broken spoils the whole sample: nothing of it is published.
func TestBadReadings(t *testing.T) {
	for name, text := range map[string]string{
		"cpu.stat": "user_usec 1\n", "memory.current": "", "memory.stat": "anon x\n", "io.stat": "8:0 rbytes=-1\n",
		"pids.current": "99999999999999999999\n", "memory.events": "oom\n",
	} {
		h := newHost(t, below("docker/"+id, unified), below("docker/"+id, map[string]string{name: text}))
		if s, err := h.read(2, stats.Target{ID: id}); err == nil {
			t.Errorf("%s with %q gave %+v", name, text, s)
		}
	}
	for name, text := range map[string]string{
		"cpuacct/docker/" + id + "/cpuacct.usage_percpu": "\n", "cpuacct/docker/" + id + "/cpuacct.usage": "max1",
		"blkio/docker/" + id + "/blkio.throttle.io_serviced": "sda Read 1\n",
	} {
		h := newHost(t, legacy("docker/"+id, "cpu", "cpuacct"), map[string]string{"cgroup/" + name: text})
		if s, err := h.read(1, stats.Target{ID: id}); err == nil {
			t.Errorf("%s with %q gave %+v", name, text, s)
		}
	}
}

func TestFilesThatMustBeThere(t *testing.T) {
	for _, name := range []string{"cpu.stat", "memory.current", "memory.stat"} {
		files := maps.Clone(unified)
		delete(files, name)
		if _, err := newHost(t, below("docker/"+id, files)).read(2, stats.Target{ID: id}); err == nil {
			t.Errorf("without %s there is a sample", name)
		}
	}
	few := map[string]string{"cpu.stat": unified["cpu.stat"], "memory.current": "1", "memory.stat": "anon 1\n"}
	if _, err := newHost(t, below("docker/"+id, few)).read(2, stats.Target{ID: id, OwnNetwork: true}); err != nil {
		t.Errorf("with what must be there: %v", err)
	}
}

func TestHost(t *testing.T) {
	h := newHost(t)
	got, err := h.source(2).Host(context.Background())
	if want := (stats.Host{CPUTime: 280 * tick, CPUs: 2}); err != nil || got != want {
		t.Errorf("host %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "cpu  1 2 3\n", "intr 5\n", "cpu  a b c d e f g\ncpu0 1\n"} {
		if got, err := parseHost([]byte(text)); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

// A container in the host's network has no counters of its own, whatever was asked.
func TestHostNetwork(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links")
	}
	h := newHost(t, below("docker/"+id, unified), processes())
	for _, pid := range []string{"self", "42"} {
		dir := filepath.Join(h.root, "proc", pid, "ns")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("net:[4026531840]", filepath.Join(dir, "net")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := h.read(2, stats.Target{ID: id, OwnNetwork: true})
	if err != nil || s.Networks != nil {
		t.Errorf("networks %v, %v", s.Networks, err)
	}
}

func TestTaskNetwork(t *testing.T) {
	h := newHost(t, below("docker/"+id, unified), processes())
	s := h.source(2)
	got, err := s.TaskNetwork(context.Background(), stats.Target{ID: id})
	want := map[string]stats.Network{
		"eni1":  {RxBytes: 10, RxPackets: 20, RxErrors: 30, RxDropped: 40, TxBytes: 50, TxPackets: 60, TxErrors: 70, TxDropped: 80},
		"vlan7": {RxBytes: 1, RxPackets: 2, RxErrors: 3, RxDropped: 4, TxBytes: 5, TxPackets: 6, TxErrors: 7, TxDropped: 8},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	s.opt.Devices = func(int) ([]string, error) { return nil, errors.New("asked again") }
	if _, err := s.TaskNetwork(context.Background(), stats.Target{ID: id}); err != nil {
		t.Errorf("the interfaces are not remembered: %v", err)
	}
}

// A file may be longer than the buffer.
func TestLongFile(t *testing.T) {
	long := strings.Repeat("pgfault 7\n", 5000)
	h := newHost(t, below("docker/"+id, unified), below("docker/"+id, map[string]string{"memory.stat": long + "anon 3\n"}))
	s, err := h.read(2, stats.Target{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	wantMemory(t, s, map[string]uint64{"pgfault": 7, "anon": 3})
}

func TestSampleJSON(t *testing.T) {
	h := newHost(t, below("docker/"+id, unified), processes())
	s, err := h.read(2, stats.Target{ID: id, OwnNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back stats.Sample
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&back)
	if err != nil || string(again) != string(text) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
}

// FuzzParsers feeds every parser of the kernel's text: none panics.
func FuzzParsers(f *testing.F) {
	for _, text := range unified {
		f.Add([]byte(text))
	}
	f.Add([]byte(netDev))
	f.Add([]byte("8:0 Read 1\nTotal 1\n"))
	f.Add([]byte("1 2 3 \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, parse := range []func([]byte, *stats.Sample) error{
			parseUnifiedCPU, parseMemoryStat, parseMemoryEvents, parseIO, parsePerCPU, parseCPUModes, parseThrottling, parsePidsMax,
			number(func(s *stats.Sample) *uint64 { return &s.Pids.Current }),
			entries(func(b *stats.Block) *[]stats.BlockEntry { return &b.Serviced }),
		} {
			s := &stats.Sample{Memory: stats.Memory{Stats: stats.NewDetails(unifiedMemory)}}
			_ = parse(text, s)
		}
		_, _ = parseHost(text)
		_, _ = parseNetwork(text, func([]byte) bool { return true })
	})
}

// counting counts how often files are read.
type counting struct {
	reads map[string]int
}

type countedFile struct {
	File
	name string
	of   counting
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		f.of.reads[f.name]++
	}
	return f.File.ReadAt(p, off)
}

func (c counting) open(name string) (File, error) {
	f, err := os.Open(name)
	return countedFile{f, filepath.Base(name), c}, err
}

// A sample that is not whole has the latest of what telemetry tells of, and the rest of
// the last whole one. Samples before it stay as they are.
func TestRareNumbers(t *testing.T) {
	for version, c := range map[int]struct {
		files func(cpu, pids string) map[string]string
		rare  []string
	}{
		1: {func(cpu, pids string) map[string]string {
			files := legacy("docker/"+id, "cpu", "cpuacct")
			for name := range files {
				switch filepath.Base(name) {
				case "cpuacct.usage", "memory.usage_in_bytes":
					files[name] = cpu + "\n"
				case "pids.current":
					files[name] = pids + "\n"
				case "cpuacct.usage_percpu":
					files[name] = pids + " " + pids + "\n"
				case "blkio.throttle.io_service_bytes":
					files[name] = "8:0 Read " + cpu + "\n"
				}
			}
			return files
		}, []string{"cpuacct.usage_percpu", "cpuacct.stat", "memory.limit_in_bytes", "pids.current", "cpu.stat"}},
		2: {func(cpu, pids string) map[string]string {
			files := maps.Clone(unified)
			files["cpu.stat"] = "usage_usec " + cpu + "\n"
			files["memory.current"], files["pids.current"] = cpu+"\n", pids+"\n"
			files["io.stat"] = "8:0 rbytes=" + cpu + "\n"
			return below("docker/"+id, files)
		}, []string{"memory.max", "memory.events", "pids.current", "pids.max"}},
	} {
		h := newHost(t, c.files("5", "1"), processes())
		s := h.source(version)
		reads := counting{make(map[string]int)}
		s.opt.Open = reads.open
		m, err := s.Open(t.Context(), stats.Target{ID: id, OwnNetwork: true})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		read := func(whole bool) *stats.Sample {
			t.Helper()
			sample, err := m.Read(t.Context(), whole)
			if err != nil {
				t.Fatal(err)
			}
			return sample
		}
		first := read(false) // whole, being the first
		before, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		h.write(c.files("7", "2"))
		second := read(false)
		if second.CPU.Usage.Total == first.CPU.Usage.Total || second.Memory.Usage != 7 || second.Block.ServiceBytes[0].Value != 7 || len(second.Networks) != 1 {
			t.Errorf("version %d: not the latest: %+v", version, second)
		}
		if second.Pids != first.Pids || second.Pids.Current != 1 || !slices.Equal(second.CPU.Usage.PerCPU, first.CPU.Usage.PerCPU) {
			t.Errorf("version %d: not the rest of the first: %+v", version, second)
		}
		for _, name := range c.rare {
			if reads.reads[name] != 1 {
				t.Errorf("version %d: %s was read %d times", version, name, reads.reads[name])
			}
		}
		// What neither ran nor took memory moved nothing that would be worth a look.
		resting := read(false)
		for name, n := range map[string]int{"memory.stat": 2, "io.stat": 2, "blkio.throttle.io_service_bytes": 2, "dev": 3} {
			if got := reads.reads[name]; got != n && got != 0 {
				t.Errorf("version %d: %s was read %d times, want %d", version, name, got, n)
			}
		}
		if used, ok := resting.Memory.Stats.Get("inactive_file"); !ok || used == 0 || resting.Block.ServiceBytes[0].Value != 7 {
			t.Errorf("version %d: a resting container's numbers: %+v", version, resting)
		}
		third := read(true)
		if third.Pids.Current != 2 || version == 1 && third.CPU.Usage.PerCPU[0] != 2 {
			t.Errorf("version %d: not whole: %+v", version, third)
		}
		// Where nothing has happened, a whole sample needs no look either, but for what others
		// do to the container, once in a while.
		h.write(c.files("7", "3"))
		if still := read(true); still.Pids.Current != 2 {
			t.Errorf("version %d: a resting container was read: %+v", version, still)
		}
		m.(*meter).wholeAt = time.Now().Add(-restLimit)
		if late := read(false); late.Pids.Current != 3 {
			t.Errorf("version %d: not read after a long rest: %+v", version, late)
		}
		if after, err := json.Marshal(first); err != nil || string(after) != string(before) {
			t.Errorf("version %d: a sample changed: %s, %v; was %s", version, after, err, before)
		}
	}
}

// BenchmarkRead is one sample of a container with cgroup v1, the costlier version; the
// files are plain ones here.
func BenchmarkRead(b *testing.B) {
	h := host{root: b.TempDir()}
	for _, files := range []map[string]string{legacy("docker/"+id, "cpu", "cpuacct"), processes()} {
		for name, text := range files {
			name = filepath.Join(h.root, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
				b.Fatal(err)
			}
		}
	}
	s := New(Options{Cgroup: filepath.Join(h.root, "cgroup"), Proc: filepath.Join(h.root, "proc"), Version: 1})
	defer s.Close()
	m, err := s.Open(b.Context(), stats.Target{ID: id, OwnNetwork: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Read(b.Context(), true); err != nil {
			b.Fatal(err)
		}
	}
}
