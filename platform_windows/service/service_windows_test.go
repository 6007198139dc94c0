package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	host "ecsagent/platform_windows"
)

// patient is how long the service control manager of a slow machine may take.
const patient = 2 * time.Minute

// asService is the argument with which the test's own program is a service: its name and
// the address of the test follow.
const asService = "-as-service"

func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, asService); i > 0 {
		err := Serve(context.Background(), os.Args[i+1], func(ctx context.Context) int { return puppet(ctx, os.Args[i+2]) })
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// puppet plays the agent. It tells the test that it runs, with its environment, and when
// it is to end; it ends with the code that it is told.
func puppet(ctx context.Context, address string) int {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 99
	}
	defer c.Close()
	fmt.Fprintf(c, "running %s\n", os.Getenv(testVariable))
	codes := make(chan int, 1)
	go func() {
		line, err := bufio.NewReader(c).ReadString('\n')
		if code, e := strconv.Atoi(strings.TrimSpace(line)); err == nil && e == nil {
			codes <- code
		}
	}()
	select {
	case code := <-codes:
		return code
	case <-ctx.Done():
		fmt.Fprintln(c, "told to end")
		return <-codes
	}
}

const testVariable = "ECS_SERVICE_TEST_DATADIR"

// definition is a service of the test, under names of its own.
func definition(t *testing.T, address string) Definition {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Define(Options{Program: self, ProgramData: t.TempDir(), DependsOn: []string{"RpcSs"}})
	if err != nil {
		t.Fatal(err)
	}
	d.Name = fmt.Sprint("AmazonECSTest", os.Getpid())
	d.DisplayName, d.EventSource = d.Name, d.Name
	d.Arguments = []string{asService, d.Name, address}
	d.Environment = []Variable{{testVariable, d.Directory + `\data`}}
	return d
}

func await(t *testing.T, s *mgr.Service, want svc.State) svc.Status {
	t.Helper()
	deadline := time.Now().Add(patient)
	for {
		status, err := s.Query()
		if err != nil {
			t.Fatal(err)
		}
		if status.State == want {
			return status
		}
		if time.Now().After(deadline) {
			t.Fatalf("service: %+v; want state %d", status, want)
		}
		time.Sleep(20 * time.Millisecond) // the manager has no event that Go can wait for
	}
}

// run is a run of the service.
type run struct {
	c     net.Conn
	lines *bufio.Reader
}

func (r run) line(t *testing.T) string {
	t.Helper()
	if err := r.c.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	text, err := r.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

func (r run) end(t *testing.T, code int) {
	t.Helper()
	if _, err := fmt.Fprintln(r.c, code); err != nil {
		t.Fatal(err)
	}
}

// TestService: installed, started, asked, stopped, ended with every kind of code, changed
// and removed through the service control manager.
func TestService(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := definition(t, l.Addr().String())
	t.Cleanup(func() {
		if err := Uninstall(d); err != nil {
			t.Error(err)
		}
	})
	without, err := Install(d)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		t.Skip("installs a service, which only administrators may:", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if len(without) > 0 && !onWine() {
		t.Errorf("this Windows does not know %q", without)
	}
	m, err := mgr.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Disconnect() }()
	s, err := m.OpenService(d.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	checkInstalled(t, s, d)
	start := func() run {
		t.Helper()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		r := run{c, bufio.NewReader(c)}
		if got := r.line(t); !strings.HasPrefix(got, "running") {
			t.Fatalf("service says %q", got)
		}
		return r
	}

	r := start()
	status := await(t, s, svc.Running)
	if status.Accepts&svc.AcceptStop == 0 || status.Accepts&svc.AcceptShutdown == 0 {
		t.Errorf("running: %+v", status)
	}
	if status, err := s.Control(svc.Interrogate); err != nil || status.State != svc.Running {
		t.Errorf("interrogated: %+v %v", status, err)
	}
	// Another installation changes a running service without stopping it.
	d.Start, d.DependsOn = Manual, nil
	if _, err := Install(d); err != nil {
		t.Fatal(err)
	}
	checkInstalled(t, s, d)
	if _, err := s.Control(svc.Stop); err != nil {
		t.Fatal(err)
	}
	if got := r.line(t); got != "told to end" {
		t.Errorf("stopped, the service says %q", got)
	}
	first := await(t, s, svc.StopPending)
	if first.Accepts != 0 {
		t.Errorf("stopping: %+v", first)
	}
	r.end(t, 1)
	if status := await(t, s, svc.Stopped); status.Win32ExitCode != 0 {
		t.Errorf("stopped: %+v", status)
	}

	for _, c := range []struct{ agent, want uint32 }{{0, 0}, {5, 0}, {1, 1}, {42, 42}} {
		r := start()
		r.end(t, int(c.agent))
		status := await(t, s, svc.Stopped)
		specific := status.Win32ExitCode == uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR)
		if specific != (c.want != 0) || status.ServiceSpecificExitCode != c.want {
			t.Errorf("the agent ended with %d: %+v; want %d", c.agent, status, c.want)
		}
	}

	// What runs is stopped before it is removed.
	r = start()
	await(t, s, svc.Running)
	removed := make(chan error, 1)
	go func() { removed <- Uninstall(d) }()
	if got := r.line(t); got != "told to end" {
		t.Errorf("removed, the service says %q", got)
	}
	r.end(t, 0)
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	s.Close()
	checkRemoved(t, m, d)
}

// TestControls: each control that is to end the agent does so, preshutdown too, which nobody
// but Windows can send; the manager hears of it all the while.
func TestControls(t *testing.T) {
	for _, c := range []svc.Cmd{svc.Stop, svc.Shutdown, svc.PreShutdown} {
		told, end := make(chan struct{}), make(chan int)
		h := &handler{ctx: t.Context(), agent: func(ctx context.Context) int {
			<-ctx.Done()
			close(told)
			return <-end
		}}
		requests, statuses := make(chan svc.ChangeRequest), make(chan svc.Status)
		type result struct {
			specific bool
			exit     uint32
		}
		ended := make(chan result, 1)
		go func() {
			specific, exit := h.Execute(nil, requests, statuses)
			ended <- result{specific, exit}
		}()
		if s := <-statuses; s.State != svc.StartPending {
			t.Errorf("%d: at first %+v", c, s)
		}
		if s := <-statuses; s.State != svc.Running || s.Accepts != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptPreShutdown {
			t.Errorf("%d: started %+v", c, s)
		}
		requests <- svc.ChangeRequest{Cmd: c}
		first := <-statuses
		if first.State != svc.StopPending || first.WaitHint == 0 {
			t.Errorf("%d: told to end %+v", c, first)
		}
		<-told
		if s := <-statuses; s.State != svc.StopPending || s.CheckPoint <= first.CheckPoint {
			t.Errorf("%d: %+v, then %+v", c, first, s)
		}
		for sent, done := (chan<- int)(end), false; !done; {
			select {
			case sent <- 1:
				sent = nil
			case <-statuses: // it may beat once more
			case r := <-ended:
				done = true
				if r != (result{}) {
					t.Errorf("%d: ended with %+v", c, r)
				}
			}
		}
	}
}

// onWine reports whether this Windows is Wine, which knows less of services and does not
// keep the owners of files.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

func checkInstalled(t *testing.T, s *mgr.Service, d Definition) {
	t.Helper()
	buffer := make([]byte, 8192) // the most there can be
	got := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buffer[0]))
	var needed uint32
	if err := windows.QueryServiceConfig(s.Handle, got, uint32(len(buffer)), &needed); err != nil {
		t.Fatal(err)
	}
	start := map[Start]uint32{Automatic: mgr.StartAutomatic, Manual: mgr.StartManual}[d.Start]
	command := windows.ComposeCommandLine(append([]string{d.Program}, d.Arguments...))
	if line, account := windows.UTF16PtrToString(got.BinaryPathName), windows.UTF16PtrToString(got.ServiceStartName); got.StartType != start ||
		account != "LocalSystem" || line != command {
		t.Errorf("installed: start %d, account %s, command %s; want %d and %s", got.StartType, account, line, start, command)
	}
	kept, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Services\`+d.Name, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	depends, _, err := kept.GetStringsValue("DependOnService")
	if errors.Is(err, registry.ErrNotExist) {
		err = nil
	}
	if err != nil || !slices.Equal(depends, d.DependsOn) {
		t.Errorf("depends on %q, want %q: %v", depends, d.DependsOn, err)
	}
	if !onWine() {
		if config, err := s.Config(); err != nil || config.DelayedAutoStart != (d.Start == Automatic) {
			t.Errorf("%+v %v", config, err)
		}
		actions, err := s.RecoveryActions()
		if err != nil || len(actions) != len(d.Restarts) || actions[1].Delay != d.Restarts[1] || actions[1].Type != mgr.ServiceRestart {
			t.Errorf("recovery: %+v %v", actions, err)
		}
		if on, err := s.RecoveryActionsOnNonCrashFailures(); err != nil || !on {
			t.Errorf("restart after an end with an error code: %v %v", on, err)
		}
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	if value, _, err := key.GetStringValue(testVariable); err != nil || value != d.Environment[0].Value {
		t.Errorf("variable of the machine: %q %v", value, err)
	}
	events, err := registry.OpenKey(registry.LOCAL_MACHINE, eventLogKey+d.EventSource, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if file, _, err := events.GetStringValue("EventMessageFile"); err != nil || !strings.Contains(file, "EventCreate.exe") {
		t.Errorf("event messages in %q: %v", file, err)
	}
}

func checkRemoved(t *testing.T, m *mgr.Mgr, d Definition) {
	t.Helper()
	if s, err := m.OpenService(d.Name); err == nil {
		s.Close()
		t.Error("the service is still there")
	}
	if key, err := registry.OpenKey(registry.LOCAL_MACHINE, eventLogKey+d.EventSource, registry.QUERY_VALUE); err == nil {
		key.Close()
		t.Error("the source of events is still there")
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	if _, _, err := key.GetStringValue(testVariable); !errors.Is(err, registry.ErrNotExist) {
		t.Errorf("the variable of the machine is still there: %v", err)
	}
	if err := Uninstall(d); err != nil {
		t.Errorf("removed again: %v", err)
	}
}

// TestEnvironmentIsKept: what the machine says already is neither changed nor removed.
func TestEnvironmentIsKept(t *testing.T) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, environmentKey, registry.QUERY_VALUE|registry.SET_VALUE)
	if err != nil {
		t.Skip("needs an administrator:", err)
	}
	defer key.Close()
	name := fmt.Sprint("ECS_SERVICE_TEST_KEPT", os.Getpid())
	if err := key.SetStringValue(name, "mine"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = key.DeleteValue(name) }()
	list := []Variable{{name, "ours"}}
	for _, change := range []func([]Variable) error{setEnvironment, unsetEnvironment} {
		if err := change(list); err != nil {
			t.Fatal(err)
		}
		if value, _, err := key.GetStringValue(name); err != nil || value != "mine" {
			t.Errorf("%q %v", value, err)
		}
	}
}

// TestProtect: the directory is one of administrators, whoever made it.
func TestProtect(t *testing.T) {
	if onWine() {
		t.Skip("Wine does not keep the owner of a file")
	}
	directory := filepath.Join(t.TempDir(), "Amazon", "ECS")
	for range 2 {
		if err := protect(directory); errors.Is(err, windows.ERROR_INVALID_OWNER) || errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD) {
			t.Skip("needs an administrator:", err)
		} else if err != nil {
			t.Fatal(err)
		}
		if !host.TrustedOwner(directory) {
			t.Error("not owned by administrators")
		}
	}
	if host.TrustedOwner(filepath.Join(directory, "missing")) {
		t.Error("a missing file is trusted")
	}
}

func TestInstallRefuses(t *testing.T) {
	d := definition(t, "")
	d.Program = filepath.Join(t.TempDir(), "missing.exe")
	if _, err := Install(d); err == nil || !strings.Contains(err.Error(), d.Program) {
		t.Errorf("a program that is missing: %v", err)
	}
}
