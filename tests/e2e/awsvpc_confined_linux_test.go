package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// confined is a folder with an agent that has the capabilities of the unit and no others,
// gains none, and sees the system's files read-only, as the unit has it; the other programs
// are as they are.
func confined(t *testing.T) string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join("..", "..", "packaging", "systemd", "ecs.service"))
	if err != nil {
		t.Fatal(err)
	}
	bounds := "-all"
	for line := range strings.Lines(string(unit)) {
		if set, ok := strings.CutPrefix(strings.TrimSpace(line), "CapabilityBoundingSet="); ok {
			for word := range strings.FieldsSeq(set) {
				bounds += ",+" + strings.ToLower(strings.TrimPrefix(word, "CAP_"))
			}
		}
	}
	for _, want := range []string{"NoNewPrivileges=yes", "ProtectSystem=full", "PrivateMounts=yes", ",+net_admin", ",+sys_admin"} {
		if !strings.Contains(string(unit), want) && !strings.Contains(bounds, want) {
			t.Fatalf("the unit does not have %s: this test plays another one", want)
		}
	}
	dir := t.TempDir()
	programs, err := filepath.Glob(filepath.Join(shared.programs, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if name := filepath.Base(p); name != "ecs-agent" {
			if err := os.Symlink(p, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := fmt.Sprintf(`#!/bin/sh
exec unshare --mount --propagation private sh -ec '
for d in /usr /boot /etc; do [ ! -d $d ] || { mount --bind $d $d; mount -o remount,bind,ro $d; }; done
exec setpriv --bounding-set=%s --no-new-privs %s "$@"' sh "$@"
`, bounds, filepath.Join(shared.programs, "ecs-agent"))
	if err := os.WriteFile(filepath.Join(dir, "ecs-agent"), []byte(script), 0o755); err != nil { //nolint:gosec // it has to be executable
		t.Fatal(err)
	}
	return dir
}

// A task in mode awsvpc from start to end, whose agent and plugins have the capabilities
// and the file system of the unit.
func TestAWSVPCConfined(t *testing.T) {
	v := inVPC(t, "ECS_AWSVPC_BLOCK_IMDS=true")
	if _, err := v.Agent.Stop(patience); err != nil {
		t.Fatal(err)
	}
	v.Programs = confined(t)
	v.restart()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.Agent.PID()))
	if err != nil {
		t.Fatal(err)
	}
	// What it has is what systemd would leave it: see capabilities(7) for the bits.
	const netAdmin, netRaw, sysAdmin, sysPtrace, chown, override = 12, 13, 21, 19, 0, 1
	mask := uint64(1<<netAdmin | 1<<netRaw | 1<<sysAdmin | 1<<sysPtrace | 1<<chown | 1<<override)
	contains(t, "status of the agent", string(status), fmt.Sprintf("CapBnd:\t%016x", mask), fmt.Sprintf("CapEff:\t%016x", mask), "NoNewPrivs:\t1")

	task := v.running(withRoles(vpcDefinition(server("app", "confined"))))
	v.serves(task, "confined")
	contains(t, "credentials", v.inTask(task, "app", "timeout 30 wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), taskRole)
	if got := v.inTask(task, "app", "timeout 10 wget -qO- http://169.254.169.254/latest/meta-data/instance-id || echo blocked"); !strings.HasSuffix(got, "blocked") {
		t.Errorf("instance metadata in a task: %q", got)
	}
	v.stop(task.TaskARN)
	v.nothingLeft()
}
