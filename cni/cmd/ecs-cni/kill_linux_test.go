package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ecsagent/cni/nettest"
)

// exec runs one plugin as the agent does, and kills it after a time, if that is not 0.
func (m *machine) exec(command string, s step, tk task, netns string, kill time.Duration) (killed bool, err error) {
	var out bytes.Buffer
	err = m.host.Do(func() error {
		c := exec.Command(filepath.Join(built, s.name)) // on purpose
		c.Env = append(append(os.Environ(), m.env...), "CNI_COMMAND="+command, "CNI_CONTAINERID="+tk.id, "CNI_NETNS="+netns,
			"CNI_IFNAME="+s.ifname, "CNI_PATH="+built, "CNI_ARGS=")
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(s.conf), &out, &out
		if err := c.Start(); err != nil {
			return err
		}
		if kill > 0 {
			timer := time.AfterFunc(kill, func() { _ = c.Process.Kill() })
			defer timer.Stop()
		}
		return c.Wait()
	})
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() {
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", command, s.name, err, out.Bytes())
	}
	return false, err
}

// TestKill: plugins are killed at random moments. Called again they bring the task into
// shape, and when it is torn down, or only its namespace ends, nothing of it is left.
// ECS_TEST_CYCLES asks for more cycles.
func TestKill(t *testing.T) {
	cycles := 15
	if n, err := strconv.Atoi(os.Getenv("ECS_TEST_CYCLES")); err == nil {
		cycles = n
	}
	m := newMachine(t)
	peer := m.vpc.Attach(m.host, "ens6", mac)
	steps := sequence("0.3.0", mac, 37)
	tk := task{nettest.New(t), "warm-up"}
	// How long a call takes, to kill within that time; it may be killed before it begins.
	longest := m.measure(steps, tk)
	tk.Destroy()
	before := m.state()
	r := rand.New(rand.NewPCG(3, 4))
	kills := 0
	for i := range cycles {
		tk := task{nettest.New(t), fmt.Sprint("c", i)}
		run := func(command string, s step, kill bool) {
			var after time.Duration
			if kill {
				after = 1 + time.Duration(r.Int64N(int64(longest)))
			}
			killed, err := m.exec(command, s, tk, tk.Path(), after)
			if err != nil {
				t.Fatalf("cycle %d: %v", i, err)
			}
			if killed {
				kills++
			}
		}
		for _, s := range steps {
			for range r.IntN(3) {
				run("ADD", s, true)
			}
			if i%3 != 0 {
				run("ADD", s, false)
			}
		}
		if i%3 != 0 {
			m.inShape(tk, 37)
		}
		for _, s := range slices.Backward(steps) {
			for range r.IntN(2) {
				run("DEL", s, true)
			}
			// Here the namespace ends before its tear-down; a device that is not a stand-in
			// would come back to the host by itself.
			if i%4 == 1 && s.name == "ecs-bridge" {
				break
			}
			run("DEL", s, false)
		}
		gone := i%4 == 1
		path := tk.Path()
		tk.Destroy()
		if gone {
			for _, s := range slices.Backward(steps) {
				if _, err := m.exec("DEL", s, tk, "/proc/999999999/ns/net", 0); err != nil {
					t.Fatalf("cycle %d, namespace gone: %v", i, err)
				}
			}
			nettest.Eventually(t, func() error {
				if m.vpc.Has(peer) {
					return fmt.Errorf("%s is still there, of %s", peer, path)
				}
				return nil
			})
			peer = m.vpc.Attach(m.host, "ens6", mac)
		}
		nettest.Eventually(t, func() error {
			if after := m.state(); after != before && !gone || len(m.host.Names()) != 2 {
				return fmt.Errorf("cycle %d: before %s, after %s", i, before, after)
			}
			return nil
		})
	}
	t.Logf("%d of the calls in %d cycles were killed", kills, cycles)
	if kills < cycles/4 {
		t.Errorf("only %d calls were killed", kills)
	}
}

func (m *machine) measure(steps []step, tk task) (longest time.Duration) {
	m.t.Helper()
	for _, command := range []string{"ADD", "DEL"} {
		for i := range steps {
			s := steps[i]
			if command == "DEL" {
				s = steps[len(steps)-1-i]
			}
			begin := time.Now()
			if _, err := m.exec(command, s, tk, tk.Path(), 0); err != nil {
				m.t.Fatal(err)
			}
			longest = max(longest, time.Since(begin))
		}
	}
	return longest
}

// state is everything that a task could leave behind: interfaces of the host, addresses,
// files. The ENI has the name that it comes back with.
func (m *machine) state() string {
	names := m.host.Names()
	for i, n := range names {
		if n == "ens6" {
			names[i] = "ecs1f2e3d4c5b"
		}
	}
	slices.Sort(names)
	files, err := filepath.Glob(filepath.Join(m.dir, "*", "*"))
	if err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprint(names, m.given(), files)
}

// BenchmarkPlugin is what one call costs, from its start to its end.
func BenchmarkPlugin(b *testing.B) {
	m := newMachine(b)
	m.vpc.Attach(m.host, "ens6", mac)
	tk := task{nettest.New(b), "c1"}
	steps := sequence("0.3.0", mac, 37)
	for _, s := range steps {
		for _, command := range []string{"ADD", "DEL"} {
			b.Run(s.name+"/"+command, func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					other := map[string]string{"ADD": "DEL", "DEL": "ADD"}[command]
					if _, err := m.exec(other, s, tk, tk.Path(), 0); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if _, err := m.exec(command, s, tk, tk.Path(), 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
