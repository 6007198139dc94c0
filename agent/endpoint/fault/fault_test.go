package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kernel is a fake host: it keeps chains and a listing of qdiscs.
type kernel struct {
	mu      sync.Mutex
	chains  map[string]bool // tool and chain
	netem   map[string]string
	ran     []Command
	fail    func(c Command) (exit int, err error)
	lacks   string // a tool that is not installed
	block   bool
	running int
	most    int
}

func newKernel() *kernel { return &kernel{chains: map[string]bool{}, netem: map[string]string{}} }

func (k *kernel) Run(ctx context.Context, c Command) ([]byte, int, error) {
	k.mu.Lock()
	k.running++
	k.most = max(k.most, k.running)
	k.mu.Unlock()
	defer func() { k.mu.Lock(); k.running--; k.mu.Unlock() }()
	if k.block {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	time.Sleep(time.Millisecond)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ran = append(k.ran, c)
	if k.fail != nil {
		if exit, err := k.fail(c); exit != 0 || err != nil {
			return []byte("no"), exit, err
		}
	}
	line := strings.Join(c.Args, " ")
	if k.lacks != "" && strings.HasPrefix(line, k.lacks) {
		return nil, 0, errors.New("executable file not found")
	}
	tool := strings.TrimSuffix(c.Args[0], "-restore")
	switch {
	case c.Args[0] == "iptables" || c.Args[0] == "ip6tables":
		if !k.chains[tool+" "+c.Args[4]] {
			return nil, 1, nil
		}
	case strings.HasSuffix(c.Args[0], "-restore"):
		for l := range strings.Lines(c.Stdin) {
			if name, ok := strings.CutPrefix(l, ":"); ok {
				k.chains[tool+" "+strings.Fields(name)[0]] = true
			}
			if name, ok := strings.CutPrefix(l, "-X "); ok {
				delete(k.chains, tool+" "+strings.TrimSpace(name))
			}
		}
	case strings.HasPrefix(line, "tc -j"):
		return []byte(k.netem[c.Args[len(c.Args)-1]]), 0, nil
	case strings.HasPrefix(line, "tc -batch"):
		device := strings.Fields(c.Stdin)[3]
		option := `"delay":{"delay":0.1}`
		if strings.Contains(c.Stdin, "netem loss") {
			option = `"loss-random":{"loss":0.1}`
		}
		k.netem[device] = `[{"kind":"prio","handle":"1:","root":true},{"kind":"prio","handle":"10:","parent":"1:1"},{"kind":"netem","handle":"200:","parent":"100:1","options":{"limit":1000,` + option + `}}]`
	case strings.HasPrefix(line, "tc qdisc del"):
		delete(k.netem, c.Args[4])
	}
	return nil, 0, nil
}

type places struct{ at Place }

func (p places) Place(context.Context, *task.Snapshot) (Place, error) {
	if p.at.Devices == nil {
		return Place{}, ErrNoDefaultInterface
	}
	return p.at, nil
}

type rig struct {
	*Handler
	kernel *kernel
	now    time.Time
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	r := &rig{kernel: newKernel(), now: time.Unix(0, 0)}
	dir := directory.New(directory.Options{})
	for _, c := range []struct {
		id, mode string
		on       bool
	}{{"host", "host", true}, {"off", "host", false}, {"bridge", "bridge", true}, {"vpc", "awsvpc", true}} {
		st := task.State{Known: task.Running, Containers: []task.ContainerState{{Known: task.ContainerRunning, EndpointID: c.id}}}
		dir.Published(st.Snapshot(&task.Spec{ARN: "arn:" + c.id, NetworkMode: c.mode, EnableFaultInjection: c.on, Containers: []task.Container{{Name: "c"}}}))
	}
	o := Options{
		Directory: dir, Runner: r.kernel, Places: places{Place{Devices: []string{"eth0", "eth1"}}}, Bound: true,
		File: filepath.Join(t.TempDir(), "faults.json"), Log: zap.NewNop(), Now: func() time.Time { return r.now },
	}
	for _, fn := range change {
		fn(&o)
	}
	r.Handler = New(o)
	return r
}

func (r *rig) raw(method, path, body string) string {
	req := httptest.NewRequest(method, "http://169.254.170.2"+path, strings.NewReader(body))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body))
}

// ask waits until the rate allows it.
func (r *rig) ask(path, body string) string {
	r.now = r.now.Add(5 * time.Second)
	return r.raw("POST", "/api/"+path, body)
}

const (
	hole    = `{"Port":8080,"Protocol":"tcp","TrafficType":"ingress","SourcesToFilter":["10.0.0.1","fd00::/8"]}`
	slow    = `{"DelayMilliseconds":100,"JitterMilliseconds":10,"Sources":["10.0.0.0/8","fd00::1"],"SourcesToFilter":["10.0.0.9"],"FlowsPercent":12}`
	lossy   = `{"LossPercent":5,"Sources":["0.0.0.0/0"]}`
	running = `200 {"Status":"running"}`
	stopped = `200 {"Status":"stopped"}`
	idle    = `200 {"Status":"not-running"}`
)

func TestLife(t *testing.T) {
	for _, c := range []struct{ kind, body string }{{"network-blackhole-port", hole}, {"network-latency", slow}, {"network-packet-loss", lossy}} {
		r := newRig(t)
		for i, step := range []struct{ op, want string }{
			{"status", idle}, {"stop", stopped}, {"start", running}, {"status", running}, {"stop", stopped}, {"status", idle}, {"start", running},
		} {
			if got := r.ask("host/fault/v1/"+c.kind+"/"+step.op, c.body); got != step.want {
				t.Errorf("%s, step %d, %s: %s, want %s", c.kind, i, step.op, got, step.want)
			}
		}
		if n := len(r.memory.all()); n != 1 {
			t.Errorf("%s: %d faults remembered", c.kind, n)
		}
	}
	r := newRig(t)
	r.ask("host/fault/v1/network-latency/start", slow)
	if got, want := r.ask("host/fault/v1/network-packet-loss/start", lossy), `409 {"Error":"There is already one network latency fault running"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := r.ask("host/fault/v1/network-latency/start", slow), `409 {"Error":"There is already one network latency fault running"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := r.ask("host/fault/v1/network-packet-loss/stop", ""); got != stopped || r.kernel.netem["eth0"] == "" {
		t.Errorf("stopping loss: %s; each stops its own kind only", got)
	}
	if got := r.ask("host/fault/v1/network-packet-loss/status", "{"); got != idle {
		t.Errorf("status of loss: %s", got)
	}
	if got := r.ask("host/fault/v1/network-blackhole-port/start", hole); got != running {
		t.Error(got)
	}
	if got := r.ask("host/fault/v1/network-blackhole-port/start", hole); got != running {
		t.Errorf("a blackhole that is there already: %s", got)
	}
}

// TestCommands compares what is run with the structure of docs/spec/04 sections 5.6
// and 5.7.
func TestCommands(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Places = places{Place{Namespace: "/proc/self/ns/net", Devices: []string{"eth0"}}} })
	r.ask("vpc/fault/v1/network-blackhole-port/start", hole)
	r.ask("vpc/fault/v1/network-blackhole-port/stop", hole)
	r.ask("vpc/fault/v1/network-blackhole-port/start", `{"Port":80,"Protocol":"tcp","TrafficType":"egress"}`)
	var got []string
	for _, c := range r.kernel.ran {
		if c.Namespace != "/proc/self/ns/net" {
			t.Errorf("%v runs in %q", c.Args, c.Namespace)
		}
		got = append(got, strings.Join(c.Args, " "))
		if c.Stdin != "" {
			got = append(got, strings.Split(strings.TrimSpace(c.Stdin), "\n")...)
		}
	}
	want := []string{
		"iptables -w 5 -C ingress-tcp-8080 -p tcp --dport 8080 -j DROP",
		"iptables-restore -w 5 --noflush", "*filter", ":ingress-tcp-8080 - [0:0]",
		"-A ingress-tcp-8080 -p tcp -s 10.0.0.1 --dport 8080 -j ACCEPT",
		"-A ingress-tcp-8080 -p tcp --dport 8080 -j DROP", "-I INPUT -j ingress-tcp-8080", "COMMIT",
		"ip6tables-restore -w 5 --noflush", "*filter", ":ingress-tcp-8080 - [0:0]",
		"-A ingress-tcp-8080 -p tcp -s fd00::/8 --dport 8080 -j ACCEPT",
		"-A ingress-tcp-8080 -p tcp --dport 8080 -j DROP", "-I INPUT -j ingress-tcp-8080", "COMMIT",
		"iptables -w 5 -C ingress-tcp-8080 -p tcp --dport 8080 -j DROP",
		"iptables-restore -w 5 --noflush", "*filter", "-D INPUT -j ingress-tcp-8080", "-F ingress-tcp-8080", "-X ingress-tcp-8080", "COMMIT",
		"ip6tables -w 5 -C ingress-tcp-8080 -p tcp --dport 8080 -j DROP",
		"ip6tables-restore -w 5 --noflush", "*filter", "-D INPUT -j ingress-tcp-8080", "-F ingress-tcp-8080", "-X ingress-tcp-8080", "COMMIT",
		"iptables -w 5 -C egress-tcp-80 -p tcp --dport 80 -j DROP",
		"iptables-restore -w 5 --noflush", "*filter", ":egress-tcp-80 - [0:0]",
		"-A egress-tcp-80 -p tcp -d 169.254.170.2 --dport 80 -j ACCEPT",
		"-A egress-tcp-80 -p tcp --dport 80 -j DROP", "-I OUTPUT -j egress-tcp-80", "COMMIT",
		"ip6tables-restore -w 5 --noflush", "*filter", ":egress-tcp-80 - [0:0]",
		"-A egress-tcp-80 -p tcp --dport 80 -j DROP", "-I OUTPUT -j egress-tcp-80", "COMMIT",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("ran:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestImpairScript(t *testing.T) {
	s, err := parse(Latency, strings.NewReader(slow))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(impairScript("eth0", &s)), "\n")
	if len(lines) != 2+10+12+3+11 {
		t.Errorf("%d lines", len(lines))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"qdisc add dev eth0 root handle 1: prio priomap 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2",
		"qdisc add dev eth0 parent 1:1 handle 10: prio bands 10 priomap 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2",
		"qdisc add dev eth0 parent 10:a handle 109: prio bands 10",
		"qdisc add dev eth0 parent 100:1 handle 200: netem delay 100ms 10ms",
		"qdisc add dev eth0 parent 100:a handle 209: netem delay 100ms 10ms",
		"qdisc add dev eth0 parent 101:2 handle 211: netem delay 100ms 10ms",
		"filter add dev eth0 protocol all parent 1:0 prio 1 u32 match ip dst 10.0.0.9 flowid 1:3",
		"filter add dev eth0 protocol all parent 1:0 prio 2 u32 match ip dst 10.0.0.0/8 flowid 1:1",
		"filter add dev eth0 protocol all parent 1:0 prio 2 u32 match ip6 dst fd00::1 flowid 1:1",
		"filter add dev eth0 parent 10: handle 1 protocol all prio 2 flow hash keys src,dst,proto,proto-src,proto-dst divisor 10 baseclass 10:1",
		"filter add dev eth0 parent 109: handle 10 protocol all prio 2 flow hash keys src,dst,proto,proto-src,proto-dst divisor 10 baseclass 109:1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(text, "212:") {
		t.Error("more leaves are impaired than asked for")
	}
	s, err = parse(Loss, strings.NewReader(lossy))
	if err != nil {
		t.Fatal(err)
	}
	if text := impairScript("eth0", &s); strings.Count(text, "netem loss 5%") != 100 {
		t.Errorf("%d leaves lose packets", strings.Count(text, "netem loss 5%"))
	}
}

// TestRefusals goes through docs/spec/04 sections 5.3 and 5.4.
func TestRefusals(t *testing.T) {
	bad := func(text string) string { return `400 {"Error":"` + text + `"}` }
	for _, c := range []struct{ path, body, want string }{
		{"host/fault/v1/network-blackhole-port/start", "", bad("required request body is missing")},
		{"host/fault/v1/network-blackhole-port/status", "", bad("required request body is missing")},
		{"host/fault/v1/network-blackhole-port/stop", "{", bad("unexpected EOF")},
		{"host/fault/v1/network-blackhole-port/start", "{}", bad("required parameter Port is missing")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":1,"Protocol":"x"}`, bad("required parameter TrafficType is missing")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":1,"TrafficType":"x"}`, bad("required parameter Protocol is missing")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":1,"Protocol":"x","TrafficType":"y"}`, bad("invalid value x for parameter Protocol")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":1,"Protocol":"udp","TrafficType":"y"}`, bad("invalid value y for parameter TrafficType")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":65536,"Protocol":"udp","TrafficType":"egress"}`, bad("json: cannot unmarshal number 65536 into Go struct field blackholeBody.Port of type uint16")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":1,"Protocol":"udp","TrafficType":"egress","SourcesToFilter":["10.0.0.1","x; reboot"]}`, bad("invalid value x; reboot for parameter SourcesToFilter")},
		{"host/fault/v1/network-blackhole-port/start", `{"Port":1,"Protocol":"udp","TrafficType":"egress","SourcesToFilter":["fe80::1%eth0"]}`, bad("invalid value fe80::1%eth0 for parameter SourcesToFilter")},
		{"host/fault/v1/network-latency/start", "", bad("required request body is missing")},
		{"host/fault/v1/network-latency/start", `{"JitterMilliseconds":1}`, bad("required parameter DelayMilliseconds is missing")},
		{"host/fault/v1/network-latency/start", `{"DelayMilliseconds":1}`, bad("required parameter JitterMilliseconds is missing")},
		{"host/fault/v1/network-latency/start", `{"DelayMilliseconds":0,"JitterMilliseconds":0}`, bad("required either DelayMilliseconds or JitterMilliseconds to be non-zero")},
		{"host/fault/v1/network-latency/start", `{"DelayMilliseconds":1,"JitterMilliseconds":0}`, bad("required parameter Sources is missing")},
		{"host/fault/v1/network-latency/start", `{"DelayMilliseconds":1,"JitterMilliseconds":0,"Sources":[]}`, bad("required parameter Sources is missing")},
		{"host/fault/v1/network-latency/start", `{"DelayMilliseconds":1,"JitterMilliseconds":0,"Sources":["10.0.0.0/33"]}`, bad("invalid value 10.0.0.0/33 for parameter Sources")},
		{"host/fault/v1/network-latency/start", `{"DelayMilliseconds":1,"JitterMilliseconds":0,"Sources":["10.0.0.0"],"FlowsPercent":0}`, bad("invalid value 0 for parameter flowsPercent")},
		{"host/fault/v1/network-packet-loss/start", `{"Sources":["10.0.0.0"]}`, bad("required parameter LossPercent is missing")},
		{"host/fault/v1/network-packet-loss/start", `{"LossPercent":0,"Sources":["10.0.0.0"]}`, bad("invalid value 0 for parameter LossPercent")},
		{"host/fault/v1/network-packet-loss/start", `{"LossPercent":101,"Sources":["10.0.0.0"]}`, bad("invalid value 101 for parameter LossPercent")},
		{"nope/fault/v1/network-packet-loss/start", lossy, `404 {"Error":"unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"}`},
		{"off/fault/v1/network-packet-loss/stop", "", bad("enableFaultInjection is not enabled for task: arn:off")},
		{"bridge/fault/v1/network-packet-loss/stop", "", bad("bridge mode is not supported. Please use either host or awsvpc mode.")},
		{"host/fault/v1/network-packet-loss/restart", "", "404 404 page not found"},
		{"host/fault/v1/network-other/start", "", "404 404 page not found"},
		{"host/fault/v1/network-latency/start/", "", "404 404 page not found"},
		{"host/fault/", "", "404 404 page not found"},
	} {
		r := newRig(t)
		if got := r.ask(c.path, c.body); got != c.want {
			t.Errorf("%s %s: %s\nwant %s", c.path, c.body, got, c.want)
		}
		if len(r.kernel.ran) > 0 {
			t.Errorf("%s %s: ran %v", c.path, c.body, r.kernel.ran)
		}
	}
	r := newRig(t, func(o *Options) { o.Places = places{} })
	if got, want := r.ask("host/fault/v1/network-latency/status", ""), `500 {"Error":"failed to resolve default host network interface"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := r.raw("GET", "/api/host/fault/v1/network-latency/status", ""); got != "405" {
		t.Errorf("GET: %s", got)
	}
}

func TestRate(t *testing.T) {
	r := newRig(t)
	for i, want := range []string{idle, "429 You have reached maximum request limit"} {
		if got := r.raw("POST", "/api/host/fault/v1/network-latency/status", ""); got != want {
			t.Errorf("request %d: %s", i, got)
		}
	}
	if got := r.raw("POST", "/api/host/fault/v1/network-packet-loss/status", ""); got != idle {
		t.Errorf("another operation: %s", got)
	}
}

// What fails halfway leaves nothing behind, in the kernel or in memory.
func TestFailuresAreUndone(t *testing.T) {
	r := newRig(t)
	r.kernel.fail = func(c Command) (int, error) {
		if strings.Join(c.Args, " ") == "tc -batch -" && strings.Contains(c.Stdin, "eth1") {
			return 2, nil
		}
		return 0, nil
	}
	if got, want := r.ask("host/fault/v1/network-latency/start", slow), `500 {"Error":"internal error"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(r.kernel.netem) != 0 || len(r.memory.all()) != 0 {
		t.Errorf("left: %v, %v", r.kernel.netem, r.memory.all())
	}
	// IPv6 may be missing, unless the task has nothing else.
	r = newRig(t)
	r.kernel.lacks = "ip6tables"
	if got := r.ask("host/fault/v1/network-blackhole-port/start", hole); got != running {
		t.Error(got)
	}
	if got := r.ask("host/fault/v1/network-blackhole-port/stop", hole); got != stopped || len(r.kernel.chains) != 0 {
		t.Error(got, r.kernel.chains)
	}
	r = newRig(t, func(o *Options) { o.Places = places{Place{Devices: []string{"eth0"}, IPv6Only: true}} })
	r.kernel.fail = func(c Command) (int, error) {
		if c.Args[0] == "ip6tables-restore" {
			return 1, nil
		}
		return 0, nil
	}
	if got, want := r.ask("host/fault/v1/network-blackhole-port/start", hole), `500 {"Error":"internal error"}`; got != want || len(r.kernel.chains) != 0 {
		t.Errorf("%s, left %v", got, r.kernel.chains)
	}
	// A stop takes away what a start that was cut off left.
	r = newRig(t)
	r.kernel.netem["eth0"] = `[{"kind":"prio","handle":"1:","root":true},{"kind":"prio","handle":"10:","parent":"1:1"}]`
	if got := r.ask("host/fault/v1/network-latency/stop", ""); got != stopped || len(r.kernel.netem) != 0 {
		t.Error(got, r.kernel.netem)
	}
	// Somebody else's queues are left alone.
	r.kernel.netem["eth0"] = `[{"kind":"prio","handle":"1:","root":true}]`
	if got := r.ask("host/fault/v1/network-latency/stop", ""); got != stopped || len(r.kernel.netem) != 1 {
		t.Error(got, r.kernel.netem)
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.kernel.block = true
		for path, want := range map[string]string{
			"network-latency/status":       "check status network latency",
			"network-packet-loss/stop":     "stop network packet loss",
			"network-blackhole-port/start": "start network blackhole port",
		} {
			begin := time.Now()
			if got := r.ask("host/fault/v1/"+path, hole); got != `500 {"Error":"`+want+`: request timed out"}` || time.Since(begin) != deadline {
				t.Errorf("%s: %s after %v", path, got, time.Since(begin))
			}
		}
	})
}

// Changes of one network exclude each other and whoever looks.
func TestLocks(t *testing.T) {
	r := newRig(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			place, s := Place{Devices: []string{"eth0"}}, Spec{Kind: Latency, Delay: 1, Sources: []string{"10.0.0.1"}, Flows: 1}
			op := opStart
			if i%2 == 0 {
				op = opStop
			}
			r.perform(t.Context(), "arn:host", &place, &s, op)
		})
	}
	group.Wait()
	if r.kernel.most != 1 {
		t.Errorf("%d commands ran at once", r.kernel.most)
	}
}

func TestFaultsGoWithTheirTasksAndTheAgent(t *testing.T) {
	r := newRig(t)
	file := r.o.File
	r.ask("host/fault/v1/network-latency/start", slow)
	r.ask("host/fault/v1/network-blackhole-port/start", hole)
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	// The agent is killed and comes back.
	again := newRig(t, func(o *Options) { o.File, o.Runner = file, r.kernel })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- again.Run(ctx) }()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for range 1000 {
			if ok() {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("%s", what)
	}
	clear := func() bool {
		r.kernel.mu.Lock()
		defer r.kernel.mu.Unlock()
		return len(r.kernel.chains) == 0 && len(r.kernel.netem) == 0
	}
	wait("faults of the last run are left", clear)
	wait("faults that are gone are remembered", func() bool { return len(again.memory.all()) == 0 })
	again.ask("host/fault/v1/network-packet-loss/start", lossy)
	again.Ended("arn:other")
	if clear() {
		t.Error("another task's end took the fault away")
	}
	again.Ended("arn:host")
	wait("the fault outlives its task", clear)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
}

// The namespace of an ended task may be somebody else's by the time that its faults are to
// be taken away.
func TestFaultsGoWithTheirNamespace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("network namespaces are of Linux")
	}
	path := filepath.Join(t.TempDir(), "net")
	lead := func(to string) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(path), os.Symlink(to, path)); err != nil {
			t.Fatal(err)
		}
	}
	lead("net:[1]")
	r := newRig(t, func(o *Options) {
		o.Places = places{Place{Namespace: path, Identity: "net:[1]", Devices: []string{"eth0"}}}
	})
	for name, c := range map[string]struct {
		change func()
		ran    bool
	}{
		"it is there":        {func() {}, true},
		"it is another task": {func() { lead("net:[2]") }, false},
		"it is gone":         {func() { _ = os.Remove(path) }, false},
	} {
		lead("net:[1]")
		r.now = r.now.Add(time.Minute)
		if got := r.ask("vpc/fault/v1/network-blackhole-port/start", hole); got != running {
			t.Fatalf("%s: %s", name, got)
		}
		c.change()
		before := len(r.kernel.ran)
		for _, f := range r.memory.all() {
			r.remove(t.Context(), f)
		}
		if ran := len(r.kernel.ran) > before; ran != c.ran || len(r.memory.all()) != 0 {
			t.Errorf("%s: commands ran: %v, remembered: %v", name, ran, r.memory.all())
		}
		clear(r.kernel.chains)
	}
}

func TestDamagedMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults.json")
	if err := os.WriteFile(file, []byte(`[{"TaskARN":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := openMemory(file, zap.NewNop()); len(m.all()) != 0 {
		t.Errorf("read %v", m.all())
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{hole, slow, lossy, "", "{", "null", `{"Sources":[null],"LossPercent":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, kind := range []Kind{Blackhole, Latency, Loss} {
			s, err := parse(kind, strings.NewReader(body))
			if err != nil {
				continue
			}
			script := impairScript("eth0", &s)
			if kind == Blackhole {
				script = blackholeScript(&s, false) + blackholeScript(&s, true)
			}
			for line := range strings.Lines(script) {
				if strings.ContainsAny(line, ";|&$`\"'\\") {
					t.Errorf("%q makes %q", body, line)
				}
			}
		}
	})
}

func FuzzQdiscs(f *testing.F) {
	f.Add([]byte(`[{"kind":"netem","parent":"100:1","options":{"delay":{}}}]`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(_ *testing.T, listing []byte) { _, _, _ = readQdiscs(listing) })
}
