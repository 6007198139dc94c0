package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"ecsagent/tests/harness"
	"ecsagent/tests/proxy"
)

// rewritten lets f change the messages of a type on their way to the agent, until
// another filter is set.
func (e *env) rewritten(kind string, f func(message M)) {
	e.plane.SetFilter(func(d proxy.Direction, _ string, frame []byte) [][]byte {
		var whole struct {
			Type    string `json:"type"`
			Message M      `json:"message"`
		}
		if d == proxy.ToAgent && json.Unmarshal(frame, &whole) == nil && whole.Type == kind {
			f(whole.Message)
			if changed, err := json.Marshal(whole); err == nil {
				frame = changed
			}
		}
		return [][]byte{frame}
	})
}

// payload lets f change each task that the agent is sent to run, and its interface.
func (v *vpcEnv) payload(f func(task, eni M)) {
	v.rewritten("PayloadMessage", func(message M) {
		tasks, _ := message["tasks"].([]any)
		for _, t := range tasks {
			task := t.(M)
			if enis, ok := task["elasticNetworkInterfaces"].([]any); ok && task["desiredStatus"] == "RUNNING" {
				f(task, enis[0].(M))
			}
		}
	})
}

// database changes the plugins' addresses on the bridge behind their back.
func (v *vpcEnv) database(f func(*bbolt.Bucket) error) {
	v.t.Helper()
	db, err := bbolt.Open(filepath.Join(v.Dir, "data", "eni-ipam.db"), 0o600, &bbolt.Options{Timeout: patience})
	if err != nil {
		v.t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket([]byte("IPAM"))) })
	if err = errors.Join(err, db.Close()); err != nil {
		v.t.Fatal(err)
	}
}

// What comes with a task, or what its host has become, does not allow its network: the
// task ends with a reason that names the cause. Those that run go on, the next one runs,
// and nothing is left.
func TestAWSVPCBadInput(t *testing.T) {
	v := withVPC(t, []string{"--vpc-subnet", "NETWORK.1/28"}) // few addresses: they come again
	lasting := v.running(vpcDefinition(server("app", "lasting")))
	seen := map[string]harness.Task{} // by MAC
	keep := func(task harness.Task) {
		_, mac := task.Interface()
		seen[mac] = task
	}
	refused := func(what string, want ...string) {
		t.Helper()
		task := v.stopped(v.launch(vpcDefinition(sleeper("app"))))
		contains(t, what, task.StoppedReason, want...)
		keep(task)
		v.serves(lasting, "lasting")
	}

	v.payload(func(task, _ M) { delete(task, "elasticNetworkInterfaces") })
	refused("without an interface", "network mode awsvpc: the task came without an elastic network interface")
	v.payload(func(_, eni M) { delete(eni, "subnetGatewayIpv4Address") })
	refused("a subnet without a gateway", "subnetGatewayIpv4Address is absent: want an address with the length of its prefix")
	v.payload(func(_, eni M) { eni["macAddress"] = "06:ec:00:00:00:99" })
	refused("a MAC that nobody has", "ContainerNetworkingError", "no such network interface with MAC 06:ec:00:00:00:99")
	var twice string
	v.payload(func(_, eni M) {
		twice = eni["macAddress"].(string)
		v.onHost("ip link add twin address " + twice + " type veth peer name other")
	})
	refused("a MAC that two interfaces have", "ContainerNetworkingError", "is on 2 network interfaces", "twin")
	v.onHost("ip link delete twin")
	v.plane.SetFilter(nil)

	v.onHost("ip link set ecs-bridge down; ip link set ecs-bridge name mine; ip link set mine up")
	refused("a bridge with another name", "ContainerNetworkingError", `there is no bridge "ecs-bridge", but interface "mine" has its address 169.254.172.1: was the bridge renamed?`)
	v.onHost("ip link set mine down; ip link set mine name ecs-bridge; ip link set ecs-bridge up")

	const nobody = "nobody"
	value := append(make([]byte, 8), nobody...)
	binary.LittleEndian.PutUint64(value, 1)
	v.database(func(b *bbolt.Bucket) error {
		subnet := netip.MustParsePrefix("169.254.172.0/22")
		for a := subnet.Addr().Next(); subnet.Contains(a); a = a.Next() {
			if key := []byte(a.String()); b.Get(key) == nil {
				if err := b.Put(key, value); err != nil {
					return err
				}
			}
		}
		return nil
	})
	refused("no address left", "ContainerNetworkingError", "failed to find available ip addresses in the subnet 169.254.172.0/22")
	v.database(func(b *bbolt.Bucket) error {
		c := b.Cursor()
		for k, has := c.First(); k != nil; k, has = c.Next() {
			if string(has) == string(value) {
				if err := c.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	})

	// Half of a file is none: what the namespaces have counts.
	file := filepath.Join(v.Dir, "data", "eni-ipam.db")
	before := v.addresses()
	info, err := os.Stat(file)
	if err == nil {
		err = os.Truncate(file, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	healed := v.running(vpcDefinition(server("app", "healed")))
	v.serves(healed, "healed")
	_, mac := lasting.Interface()
	equal(t, "address of a task that ran meanwhile", v.addresses()[mac], before[mac])
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
	v.stop(healed.TaskARN)
	keep(healed)

	// An address that a setting gives to one task, and another one has.
	settings := filepath.Join(v.Dir, "ecs.config.json")
	own, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	fixed := M{}
	if err := json.Unmarshal(own, &fixed); err != nil {
		t.Fatal(err)
	}
	fixed["OverrideAWSVPCLocalIPv4Address"] = before[mac] + "/22"
	changed, err := json.Marshal(fixed)
	if err == nil {
		err = os.WriteFile(settings, changed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	again := func() {
		t.Helper()
		if _, err := v.Agent.Stop(patience); err != nil {
			t.Fatal(err)
		}
		v.restart()
	}
	again()
	refused("an address that is taken", "ContainerNetworkingError", before[mac])
	if err := os.WriteFile(settings, own, 0o600); err != nil {
		t.Fatal(err)
	}
	again()

	// MAC addresses come again, with other attachments, and mean the next task.
	for {
		task := v.running(vpcDefinition(server("app", "next")))
		v.serves(task, "next")
		_, mac := task.Interface()
		earlier, known := seen[mac]
		if known && earlier.Attachments[0].ID == task.Attachments[0].ID {
			t.Errorf("two tasks have the attachment %s", task.Attachments[0].ID)
		}
		v.stop(task.TaskARN)
		if known {
			break
		}
		keep(task)
	}
	v.stop(lasting.TaskARN)
	v.nothingLeft()
}

// An interface that the host never shows: the task ends when its time is up, the agent
// forgets it, and other tasks are not held up.
func TestAWSVPCInterfaceNeverAppears(t *testing.T) {
	v := withVPC(t, []string{"--vpc-attach-wait", "2s"}, "ECS_TEST_ENI_LINKS=veth:never*")
	task := v.stopped(v.launch(vpcDefinition(sleeper("app"))))
	equal(t, "reason", task.StoppedReason, "Timeout waiting for network interface provisioning to complete.")
	if n := len(v.reports(task.TaskARN)); n != 0 {
		t.Errorf("%d reports of a task that never came", n)
	}
	v.eventually(patience, "the agent to say which attachment did not show up", func() (bool, error) {
		log, err := os.ReadFile(v.AgentLog())
		return saysOf(string(log), "attachment did not show up in time", task.TaskARN), err
	})
	v.ECS.Network = nil
	v.alive()
	v.nothingLeft()
}

// A plugin that hangs: the task ends with a reason that names it and its limit, what the
// plugin had started ends too, those that run go on, the next one runs, and nothing is left.
func TestAWSVPCHangingPlugin(t *testing.T) {
	v := inVPC(t, "ECS_FAILPOINT_LIMITS=network.set-up=4s;network.tear-down=4s")
	programs, err := withFailpoints()
	if err != nil {
		t.Fatal(err)
	}
	v.Programs = programs
	if _, err := v.Agent.Stop(patience); err != nil {
		t.Fatal(err)
	}
	v.restart()
	lasting := v.running(vpcDefinition(server("app", "lasting")))
	v.serves(lasting, "lasting")

	plugin, pids := filepath.Join(v.plugins, "ecs-bridge"), filepath.Join(v.plugins, "pids")
	if err := os.Rename(plugin, plugin+".aside"); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nsleep 7777 &\necho $$ $! $CNI_COMMAND >>" + pids + "\nwait\n"
	if err := os.WriteFile(plugin, []byte(script), 0o755); err != nil { //nolint:gosec // it has to be executable
		t.Fatal(err)
	}
	task := v.stopped(v.launch(vpcDefinition(sleeper("app"))))
	contains(t, "reason", task.StoppedReason, "ContainerNetworkingError", "plugin ecs-bridge was ended: task networking was not set up within 4s")
	v.serves(lasting, "lasting")
	calls, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "calls of the plugin", string(calls), "ADD", "DEL")
	for word := range strings.FieldsSeq(string(calls)) {
		if _, err := strconv.Atoi(word); err != nil {
			continue
		}
		v.eventually(patience, "process "+word+" of the plugin to be gone", func() (bool, error) {
			line, err := os.ReadFile(filepath.Join("/proc", word, "cmdline"))
			return os.IsNotExist(err) || err == nil && len(line) == 0, nil
		})
	}
	log, err := os.ReadFile(v.AgentLog())
	if err != nil || !saysOf(string(log), "task network not taken down", "plugin ecs-bridge was ended") {
		t.Errorf("the agent does not say which plugin did not take the network down (%v)", err)
	}
	if err := os.Rename(plugin+".aside", plugin); err != nil {
		t.Fatal(err)
	}
	next := v.running(vpcDefinition(server("app", "next")))
	v.serves(next, "next")
	v.stop(next.TaskARN)
	v.stop(lasting.TaskARN)
	v.nothingLeft()
}

// saysOf reports whether a line of a log has all of the words.
func saysOf(log string, words ...string) bool {
	for line := range strings.Lines(log) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}
