package tasknet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"ecsagent/agent/task"
	"ecsagent/cni/nettest"
)

// scripted is a runner whose plugins are shell scripts.
func scripted(t *testing.T, scripts map[string]string) *Runner {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		text = "#!/bin/sh\nread -r config\necho \"$CNI_COMMAND $CNI_IFNAME $CNI_CONTAINERID\" >>" + dir + "/calls\n" + text
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Plugins: dir, Cache: filepath.Join(dir, "cache"), Log: zaptest.NewLogger(t)})
}

func (r *Runner) calls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.opts.Plugins, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	succeeds = `[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"0.3.0","ips":[{"version":"4","address":"169.254.172.9/22","gateway":"169.254.172.1"}]}'` + "\n"
	again    = `echo '{"cniVersion":"0.3.0","code":11,"msg":"not attached yet"}'; exit 1` + "\n"
	fails    = `echo '{"cniVersion":"0.3.0","code":999,"msg":"no luck"}'; exit 1` + "\n"
)

var pause = Pause{ContainerID: "c1", Namespace: "/proc/1/ns/net"}

func newPlan(t *testing.T, eni task.ENI) Plan {
	t.Helper()
	p, err := NewPlan(&task.Spec{ENIs: []task.ENI{eni}}, Settings{BlockMetadata: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSequence(t *testing.T) {
	r := scripted(t, map[string]string{"vpc-eni": succeeds, "ecs-bridge": succeeds, "ecs-ipam": succeeds})
	p := newPlan(t, ipv4())
	got, err := r.SetUp(t.Context(), p, pause)
	if err != nil || got.LocalAddress.String() != "169.254.172.9" || got.Interface != "eth0" {
		t.Errorf("%+v %v", got, err)
	}
	if err := r.TearDown(t.Context(), p, pause); err != nil {
		t.Error(err)
	}
	if err := r.Release(t.Context(), p, pause); err != nil {
		t.Error(err)
	}
	want := "ADD eth0 c1\nADD ecs-eth0 c1\nDEL ecs-eth0 c1\nDEL eth0 c1\nDEL ecs-eth0 c1\n"
	if calls := r.calls(t); calls != want {
		t.Errorf("calls:\n%s", calls)
	}
	// Nothing of the results is kept.
	if left, err := filepath.Glob(filepath.Join(r.opts.Cache, "results", "*")); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestRepeatsWhatMayPass(t *testing.T) {
	once := `[ -e "$0.again" ] || { touch "$0.again"; ` + strings.TrimSpace(again) + `; }` + "\n" + succeeds
	r := scripted(t, map[string]string{"vpc-eni": once, "ecs-bridge": succeeds})
	if _, err := r.SetUp(t.Context(), newPlan(t, ipv4()), pause); err != nil {
		t.Error(err)
	}
	if calls := r.calls(t); calls != "ADD eth0 c1\nADD eth0 c1\nADD ecs-eth0 c1\n" {
		t.Errorf("calls:\n%s", calls)
	}
	r = scripted(t, map[string]string{"vpc-eni": again})
	if _, err := r.SetUp(t.Context(), newPlan(t, ipv4()), pause); err == nil || !strings.Contains(err.Error(), "add network failed: ") || !strings.Contains(err.Error(), "not attached yet") {
		t.Error(err)
	}
	if n := strings.Count(r.calls(t), "ADD"); n != attempts {
		t.Errorf("%d calls", n)
	}
}

// A plugin that is killed is called again, whatever for.
func TestRepeatsWhatWasKilled(t *testing.T) {
	once := `[ -e "$0.$CNI_COMMAND" ] || { touch "$0.$CNI_COMMAND"; kill -KILL $$; }` + "\n" + succeeds
	r := scripted(t, map[string]string{"vpc-eni": once, "ecs-bridge": succeeds, "ecs-ipam": once})
	p := newPlan(t, ipv4())
	_, err := r.SetUp(t.Context(), p, pause)
	if err = errors.Join(err, r.TearDown(t.Context(), p, pause), r.Release(t.Context(), p, pause)); err != nil {
		t.Error(err)
	}
	want := "ADD eth0 c1\nADD eth0 c1\nADD ecs-eth0 c1\nDEL ecs-eth0 c1\nDEL eth0 c1\nDEL eth0 c1\nDEL ecs-eth0 c1\nDEL ecs-eth0 c1\n"
	if calls := r.calls(t); calls != want {
		t.Errorf("calls:\n%s", calls)
	}
	r = scripted(t, map[string]string{"vpc-eni": "kill -KILL $$"})
	if _, err := r.SetUp(t.Context(), p, pause); err == nil || !strings.Contains(err.Error(), "vpc-eni: it was killed: signal: killed") {
		t.Error(err)
	}
}

func TestFailuresNameTheCause(t *testing.T) {
	for _, c := range []struct {
		name    string
		scripts map[string]string
		limit   time.Duration
		want    string
	}{
		{"fails", map[string]string{"vpc-eni": fails}, 0, "add network failed: no luck"},
		{"missing", nil, 0, "vpc-eni is missing (ECS_CNI_PLUGINS_PATH)"},
		{"hangs", map[string]string{"vpc-eni": "sleep 1000"}, 200 * time.Millisecond, "plugin vpc-eni was ended"},
		{"garbage", map[string]string{"vpc-eni": "echo 'segmentation fault' >&2; exit 7"}, 0, "exit status 7: segmentation fault"},
		{"no address", map[string]string{"vpc-eni": succeeds, "ecs-bridge": `echo '{"cniVersion":"0.3.0"}'`}, 0, "empty result from network namespace setup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			if c.limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.limit)
				defer cancel()
			}
			r := scripted(t, c.scripts)
			if _, err := r.SetUp(ctx, newPlan(t, ipv4()), pause); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %q", err, c.want)
			}
		})
	}
}

// What a hanging plugin has started ends with it.
func TestHangingPluginEndsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	// The end of the last writer is the end of the file.
	r := scripted(t, map[string]string{"vpc-eni": "exec 3> " + file + "; sleep 1000 & wait"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.SetUp(ctx, newPlan(t, ipv4()), pause)
		ended <- err
	}()
	f, err := os.Open(file) // returns when the plugin has opened it too
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cancel()
	if err := <-ended; err == nil {
		t.Error("a plugin that was ended succeeded")
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestTearDownGoesOn(t *testing.T) {
	r := scripted(t, map[string]string{"vpc-eni": succeeds, "ecs-bridge": fails})
	if err := r.TearDown(t.Context(), newPlan(t, ipv4()), pause); err == nil || !strings.Contains(err.Error(), "delete network failed: no luck") {
		t.Error(err)
	}
	if calls := r.calls(t); calls != "DEL ecs-eth0 c1\nDEL eth0 c1\n" {
		t.Errorf("calls:\n%s", calls)
	}
}

// A plugin that hangs when a network is taken down takes none of the others' time, and is
// the one that is named.
func TestTearDownPastAHangingPlugin(t *testing.T) {
	r := scripted(t, map[string]string{"vpc-eni": succeeds, "ecs-bridge": "sleep 1000"})
	r.tearDownLimit = 2 * time.Second
	err := r.TearDown(t.Context(), newPlan(t, ipv4()), pause)
	if err == nil || !strings.Contains(err.Error(), "plugin ecs-bridge was ended: it did not take task networking down within 1s") || strings.Contains(err.Error(), "vpc-eni") {
		t.Error(err)
	}
	if calls := r.calls(t); calls != "DEL ecs-eth0 c1\nDEL eth0 c1\n" {
		t.Errorf("calls:\n%s", calls)
	}
}

// TestForReal runs the real plugins: two tasks, each with its address, and then nothing.
func TestForReal(t *testing.T) {
	nettest.NeedRoot(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "ecs-cni")
	for _, args := range [][]string{{"go", "build", "-o", program, "ecsagent/cni/cmd/ecs-cni"}, {program, "install", filepath.Join(dir, "cni")}} {
		c := exec.Command(args[0], args[1:]...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	vpc, host := nettest.NewVPC(t), nettest.New(t)
	vpc.Serve("0.0.0.0:80")
	r := New(Options{Plugins: filepath.Join(dir, "cni"), Cache: filepath.Join(dir, "cache"), Log: zaptest.NewLogger(t), Env: []string{
		"IPAM_DB_PATH=" + filepath.Join(dir, "data", "eni-ipam.db"), "ECS_CNI_LOG_FILE=" + filepath.Join(dir, "ecs.log"), "VPC_CNI_LOG_FILE=" + filepath.Join(dir, "vpc.log")}})
	do := func(f func() error) {
		t.Helper()
		if err := host.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	var plans []Plan
	var pauses []Pause
	for i := range 2 {
		eni := ipv4()
		eni.MAC, eni.IPv4 = fmt.Sprintf("06:1f:2e:3d:4c:%02x", i), addressesOf(fmt.Sprintf("10.20.1.%d", 37+i))
		vpc.Attach(host, fmt.Sprint("ecsx", i), eni.MAC)
		ns := nettest.New(t)
		plans, pauses = append(plans, newPlan(t, eni)), append(pauses, Pause{ContainerID: fmt.Sprint("c", i), Namespace: ns.Path()})
		for range 2 {
			do(func() error {
				got, err := r.SetUp(t.Context(), plans[i], pauses[i])
				if err == nil && got.LocalAddress.String() != fmt.Sprintf("169.254.172.%d", 2+i) {
					err = fmt.Errorf("%+v", got)
				}
				return err
			})
		}
		if from, _, err := ns.Dial(nettest.Gateway4 + ":80"); err != nil || from.Addr().String() != eni.IPv4[0].Address {
			t.Errorf("%v %v", from, err)
		}
		ns.Serve("0.0.0.0:80")
		if _, to, err := vpc.Dial(eni.IPv4[0].Address + ":80"); err != nil || to.Addr().String() != eni.IPv4[0].Address {
			t.Errorf("%v %v", to, err)
		}
	}
	// The second task is not known any more.
	do(func() error { return r.Sweep(t.Context(), []string{"c0"}) })
	do(func() error { return r.TearDown(t.Context(), plans[1], pauses[1]) })
	third := plans[1]
	do(func() error {
		got, err := r.SetUp(t.Context(), third, pauses[1])
		if err == nil && got.LocalAddress.String() == "169.254.172.2" {
			err = fmt.Errorf("the first task's address was given again")
		}
		return err
	})
	for i := range plans {
		for range 2 {
			do(func() error { return r.TearDown(t.Context(), plans[i], pauses[i]) })
			do(func() error { return r.Release(t.Context(), plans[i], pauses[i]) })
		}
	}
	names := host.Names()
	slices.Sort(names)
	if want := []string{"ecs-bridge", "ecs1f2e3d4c00", "ecs1f2e3d4c01"}; !slices.Equal(names, want) {
		t.Errorf("left: %q", names)
	}
}
