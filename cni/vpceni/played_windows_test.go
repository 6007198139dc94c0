package vpceni

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"

	"ecsagent/cni/vswitch"
	"ecsagent/platform_windows/hns"
	"ecsagent/platform_windows/hns/hnstest"
)

// played has the stand-ins ask a Windows of the test's.
func played(t *testing.T) *hnstest.Windows {
	t.Helper()
	if err := windows.NewLazySystemDLL("vmcompute.dll").NewProc("StandInRestart").Find(); err != nil {
		t.Skip("needs the stand-in for vmcompute.dll, which make test-windows has:", err)
	}
	w := hnstest.New()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		w.Serve(l)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-served
	})
	t.Setenv("HNS_STANDIN_AT", l.Addr().String())
	return w
}

// TestBridge: the task's place on Docker's network, made and shared and taken away by
// hcsshim as it is, against services that keep state.
func TestBridge(t *testing.T) {
	w := played(t)
	w.Runs = func(id string) bool { return id != "gone" }
	before := w.State()
	for range 2 {
		if status, printed, _ := call(t, "ADD", "9c41", "none", natConf); status != 0 || !strings.Contains(printed, `"gateway": "172.30.16.1"`) {
			t.Fatalf("%d %s", status, printed)
		}
	}
	if status, printed, _ := call(t, "ADD", "app", "container:9c41", natConf); status != 0 {
		t.Errorf("%d %s", status, printed)
	}
	if state := w.State(); !strings.Contains(state, "endpoint nat-ep-9c41 172.30.16.") || !strings.Contains(state, "/20 in 2") {
		t.Error(state)
	}
	w.Fail("HNS DELETE /endpoints/")
	if status, printed, _ := call(t, "DEL", "9c41", "none", natConf); status == 0 || !strings.Contains(printed, "wird bereits verwendet") {
		t.Errorf("HNS is busy: %d %s", status, printed)
	}
	for range 2 {
		if status, printed, _ := call(t, "DEL", "9c41", "none", natConf); status != 0 {
			t.Errorf("%d %s", status, printed)
		}
	}
	if status, printed, _ := call(t, "ADD", "gone", "none", natConf); status == 0 || !strings.Contains(printed, "the container is gone") {
		t.Errorf("%d %s", status, printed)
	}
	if diff := cmp.Diff(before, w.State()); diff != "" {
		t.Error(diff)
	}
}

// TestNamespace: an endpoint in a namespace of HCN, by computenetwork.dll.
func TestNamespace(t *testing.T) {
	w := played(t)
	space := w.AddNamespace()
	w.SetVersion(9, 1)
	if status, printed, _ := call(t, "ADD", "9c41", space, natConf); status != 1 || !strings.Contains(printed, "for namespaces of HCN: it is 9.1, want 9.2") {
		t.Errorf("a host without HCN: %d %s", status, printed)
	}
	if got := w.State(); got != "network nat" {
		t.Error(got)
	}
	w.SetVersion(9, 2)
	for range 2 {
		if status, printed, _ := call(t, "ADD", "9c41", space, natConf); status != 0 {
			t.Fatalf("%d %s", status, printed)
		}
	}
	calls := strings.Join(w.Calls(), "\n")
	if strings.Count(calls, `HCN modify namespace`) != 1 || !strings.Contains(calls, `"ResourceType":"Endpoint"`) || !strings.Contains(calls, `"RequestType":"Add"`) {
		t.Error(calls)
	}
	var s hns.Service
	e, err := s.EndpointByName(t.Context(), "nat-ep-"+space)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status, printed, _ := call(t, "DEL", "9c41", space, natConf); status != 0 {
			t.Errorf("%d %s", status, printed)
		}
	}
	if got := w.State(); got != "network nat" {
		t.Error(got)
	}
	if err := s.Detach(t.Context(), vswitch.Place{Namespace: strings.Repeat("0", 8) + space[8:]}, e.ID); err != nil {
		t.Errorf("a namespace that is gone: %v", err)
	}
}

// TestStatusPlayed: whether HNS answers, and has Docker's network.
func TestStatusPlayed(t *testing.T) {
	w := played(t)
	conf := `{"cniVersion":"1.1.0","name":"nat","type":"vpc-eni","useExistingNetwork":true}`
	if status, printed, _ := call(t, "STATUS", "", "", conf); status != 0 {
		t.Errorf("%d %s", status, printed)
	}
	w.Fail("HNS GET /networks/")
	if status, printed, _ := call(t, "STATUS", "", "", conf); status == 0 || !strings.Contains(printed, "wird bereits verwendet") {
		t.Errorf("HNS is busy: %d %s", status, printed)
	}
}

// TestSweepPlayed: GC takes what is left of a task that is not there.
func TestSweepPlayed(t *testing.T) {
	w := played(t)
	w.Left("061f2e3d4c5b", "gone")
	conf := `{"cniVersion":"1.1.0","name":"task","type":"vpc-eni","cni.dev/valid-attachments":[{"containerID":"9c41","ifname":"eth0"}]}`
	if status, printed, _ := call(t, "GC", "", "", conf); status != 0 {
		t.Errorf("%d %s", status, printed)
	}
	if got := w.State(); got != "network nat" {
		t.Error(got)
	}
}
