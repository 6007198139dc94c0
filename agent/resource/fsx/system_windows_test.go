package fsx

import (
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"ecsagent/platform_windows/hns/hnstest"
)

// TestSystem: scripts go to PowerShell as they are, and what it prints and how it ends come
// back.
func TestSystem(t *testing.T) {
	if err := windows.NewLazySystemDLL("vmcompute.dll").NewProc("StandInRestart").Find(); err != nil {
		t.Skip("needs the stand-in for PowerShell, which make test-windows has:", err)
	}
	var scripts []string
	w := hnstest.New()
	w.PowerShell = func(command string) (int, string) {
		scripts = append(scripts, command)
		if strings.Contains(command, "Get-SmbGlobalMapping") {
			return 0, share + "\r\n"
		}
		if strings.Contains(command, "New-SmbGlobalMapping") {
			return 1, "Access is denied for pass word.\r\n"
		}
		return 0, ""
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		w.Serve(l)
	}()
	t.Setenv("HNS_STANDIN_AT", l.Addr().String())
	c := System()
	at, err := c.Mapped(t.Context(), "Y:")
	if err != nil || at != share {
		t.Errorf("%q %v", at, err)
	}
	if err := c.Unmap(t.Context(), "Y:"); err != nil {
		t.Error(err)
	}
	err = c.Map(t.Context(), "Y:", share, Login{User: `corp\svc`, Password: "pass word"})
	if err == nil || !strings.Contains(err.Error(), "Access is denied for [redacted].") {
		t.Error(err)
	}
	_ = l.Close()
	<-served
	for i, want := range []string{showScript, unmapScript, mapScript} {
		if i >= len(scripts) || scripts[i] != "-NoProfile -NonInteractive -Command "+want {
			t.Errorf("%q", scripts)
		}
	}
	if used, err := c.Used(); err != nil || !slices.Contains(used, "C:") {
		t.Errorf("%q %v", used, err)
	}
}
