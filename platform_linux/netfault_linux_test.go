package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRunIn(t *testing.T) {
	out, exit, err := RunIn(t.Context(), "", []string{"sh", "-c", "cat; echo bad >&2; exit 3"}, "in")
	if string(out) != "inbad\n" || exit != 3 || err != nil {
		t.Errorf("%q, %d, %v", out, exit, err)
	}
	if _, _, err := RunIn(t.Context(), "", []string{"/nowhere/tool"}, ""); err == nil {
		t.Error("a program that is not there ran")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := RunIn(ctx, "", []string{"sleep", "60"}, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
}

// TestRunInNamespace makes a namespace of its own, and there the rules of a blackhole.
func TestRunInNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"iptables", "iptables-restore", "nsenter", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	holder := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c", "echo ready; exec cat")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Skipf("no network namespace to be had: %v", err)
	}
	defer func() { _ = in.Close(); _ = holder.Wait() }()
	ready := make([]byte, 6)
	if n, _ := out.Read(ready); !strings.HasPrefix(string(ready[:n]), "ready") {
		t.Skip("no network namespace to be had")
	}
	namespace := fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)
	script := "*filter\n:ecsagent-test - [0:0]\n-A ecsagent-test -p tcp --dport 8080 -j DROP\n-I INPUT -j ecsagent-test\nCOMMIT\n"
	if text, exit, err := RunIn(t.Context(), namespace, []string{"iptables-restore", "-w", "5", "--noflush"}, script); exit != 0 || err != nil {
		t.Fatalf("%s, %d, %v", text, exit, err)
	}
	check := []string{"iptables", "-w", "5", "-C", "ecsagent-test", "-p", "tcp", "--dport", "8080", "-j", "DROP"}
	if text, exit, err := RunIn(t.Context(), namespace, check, ""); exit != 0 || err != nil {
		t.Errorf("%s, %d, %v", text, exit, err)
	}
	if text, exit, err := RunIn(t.Context(), "", check, ""); exit == 0 || err != nil {
		t.Errorf("the host was changed: %s, %v", text, err)
	}
	script = "*filter\n-D INPUT -j ecsagent-test\n-F ecsagent-test\n-X ecsagent-test\nCOMMIT\n"
	if text, exit, err := RunIn(t.Context(), namespace, []string{"iptables-restore", "-w", "5", "--noflush"}, script); exit != 0 || err != nil {
		t.Errorf("%s, %d, %v", text, exit, err)
	}
}

func TestFaultTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := FaultTools(t.Context(), false, "lo"); err == nil {
		t.Error("faults work without any tool")
	}
}
