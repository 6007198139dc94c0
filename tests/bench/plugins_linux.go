package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netns"

	"ecsagent/agent/network/tasknet"
	"ecsagent/agent/task"
)

// plugins measures calls of the CNI plugins: a task's interface and its way to the host,
// made and taken back. What a call costs of its own is its processor time over that of a
// program that does nothing, which is the floor; the rest of what it takes is waiting.
func (b *bench) plugins() (err error) {
	if os.Geteuid() != 0 {
		b.table.note("CNI plugins: not measured, that needs root.")
		return nil
	}
	n, err := b.newNetwork()
	defer func() { err = errors.Join(err, n.close()) }()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ecs-bench-cni-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of temporary files
	program := filepath.Join(b.programs, "ecs-cni")
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	size := float64(info.Size()) / (1 << 20)
	b.table.add(row{what: "plugins' binary", unit: "MiB", agent: size, goal: "≤ 8 MiB", met: size <= 8})
	if out, err := exec.CommandContext(b.ctx, program, "install", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("install the plugins: %w\n%s", err, out)
	}
	took := map[string][]time.Duration{}
	var floor, spent []time.Duration
	used := func(c *exec.Cmd) time.Duration { return c.ProcessState.UserTime() + c.ProcessState.SystemTime() }
	for round := range b.rounds + 1 {
		eni, err := n.attach()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("ecs-bench-%d-%d", os.Getpid(), round)
		if err := newSpace(name); err != nil {
			return err
		}
		p, err := tasknet.NewPlan(&task.Spec{ENIs: []task.ENI{{
			MAC: eni.MAC, IPv4: []task.Address{{Address: eni.IPv4[0].Address, Primary: true}}, SubnetGatewayIPv4: eni.Gateway,
		}}}, tasknet.Settings{BlockMetadata: true})
		if err != nil {
			return err
		}
		call := func(plugin, command, ifname string, config []byte) error {
			c := exec.CommandContext(b.ctx, filepath.Join(dir, plugin))
			c.Stdin = bytes.NewReader(config)
			c.Env = []string{
				"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + name, "CNI_NETNS=/run/netns/" + name, "CNI_IFNAME=" + ifname, "CNI_PATH=" + dir,
				"IPAM_DB_PATH=" + filepath.Join(dir, "eni-ipam.db"), "ECS_CNI_LOG_FILE=" + filepath.Join(dir, "log"), "VPC_CNI_LOG_FILE=" + filepath.Join(dir, "log"),
			}
			begin := time.Now()
			out, err := c.Output()
			if err != nil {
				return fmt.Errorf("%s %s: %w\n%s", plugin, command, err, out)
			}
			if round > 0 { // the first warms
				took[plugin] = append(took[plugin], time.Since(begin))
				spent = append(spent, used(c))
			}
			return nil
		}
		nothing := exec.CommandContext(b.ctx, "true")
		if err := nothing.Run(); err != nil {
			return fmt.Errorf("run a program that does nothing: %w", err)
		}
		floor = append(floor, used(nothing))
		err = n.space.Do(func() error {
			for _, s := range p.Steps {
				if err := call(s.Plugin, "ADD", s.IfName, s.Config); err != nil {
					return err
				}
			}
			for i := len(p.Steps) - 1; i >= 0; i-- {
				if err := call(p.Steps[i].Plugin, "DEL", p.Steps[i].IfName, p.Steps[i].Delete); err != nil {
					return err
				}
			}
			return call("ecs-ipam", "DEL", tasknet.BridgeEndName, p.Release)
		})
		if err = errors.Join(err, netns.DeleteNamed(name), n.Detach(eni.MAC)); err != nil {
			return err
		}
	}
	f, own := ms(median(floor)), ms(median(spent))
	b.table.add(row{what: "a plugin's call, processor time (floor: a program that does nothing)", unit: "ms", floor: f, agent: own, goal: "≤ floor + 15 ms", met: own-f <= 15})
	for _, plugin := range []string{"vpc-eni", "ecs-bridge", "ecs-ipam"} {
		b.table.add(row{what: "a call of " + plugin + ", whole", unit: "ms", agent: ms(median(took[plugin]))})
	}
	return nil
}
