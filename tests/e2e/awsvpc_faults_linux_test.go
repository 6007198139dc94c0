package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A task makes its port a black hole, in its own network alone, and takes that away again.
func TestAWSVPCFaults(t *testing.T) {
	// This kernel need not have netem for what is tried here; the agent asks for it.
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "modinfo"), []byte("#!/bin/sh\n"), 0o755); err != nil { //nolint:gosec // it has to be executable
		t.Fatal(err)
	}
	v := inVPC(t, "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	v.onHost("ip link add up0 type bridge; ip addr add 192.0.2.2/24 dev up0; ip link set up0 up; ip route add default via 192.0.2.1")
	if _, err := v.Agent.Stop(patience); err != nil {
		t.Fatal(err)
	}
	v.restart()
	if !v.hasAttribute("ecs.capability.fault-injection") {
		t.Fatal("faults are not offered")
	}
	def := vpcDefinition(server("app", "faulty"))
	def["enableFaultInjection"] = true
	task, other := v.running(def), v.running(vpcDefinition(server("app", "other")))
	address := v.serves(task, "faulty")
	fault := func(op string) string {
		t.Helper()
		return v.inTask(task, "app", `timeout 60 wget -qO- --post-data '{"Port":8080,"Protocol":"tcp","TrafficType":"ingress"}' $ECS_AGENT_URI/fault/v1/network-blackhole-port/`+op)
	}
	equal(t, "start", fault("start"), `{"Status":"running"}`)
	equal(t, "status", fault("status"), `{"Status":"running"}`)
	ctx, cancel := context.WithTimeout(v.ctx, 3*time.Second)
	defer cancel()
	if got, err := get(ctx, v.subnet, "http://"+address+":8080/name"); err == nil {
		t.Errorf("the black hole answers %q", got)
	}
	v.serves(other, "other")
	equal(t, "stop", fault("stop"), `{"Status":"stopped"}`)
	v.serves(task, "faulty")
	v.stop(task.TaskARN)
	v.stop(other.TaskARN)
	v.onHost("ip link delete up0")
	v.nothingLeft()
}

// onHost runs a shell script in the network namespace that is the host, and returns what
// it wrote.
func (v *vpcEnv) onHost(script string) string {
	v.t.Helper()
	return v.within(v.host.Path(), script)
}

// inSpace does so in the network namespace that is the subnet.
func (v *vpcEnv) inSpace(script string) string {
	v.t.Helper()
	return v.within("/run/netns/"+v.space, script)
}

func (v *vpcEnv) within(space, script string) string {
	v.t.Helper()
	out, err := exec.CommandContext(v.ctx, "nsenter", "--net="+space, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		v.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}
