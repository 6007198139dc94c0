package linux

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

const (
	managerPath = "/org/freedesktop/systemd1"
	managerName = "org.freedesktop.systemd1.Manager"
)

// fakeManager is systemd's manager, on connections without a bus.
type fakeManager struct {
	mu     sync.Mutex
	conns  []*godbus.Conn
	units  map[string]map[string]godbus.Variant
	set    []string // properties that were set on units that were there
	jobs   uint32
	result string // of jobs; "" is done, "never" does not end
}

type wireProperty struct {
	Name  string
	Value godbus.Variant
}

type wireAux struct {
	Name       string
	Properties []wireProperty
}

func (f *fakeManager) StartTransientUnit(name, _ string, properties []wireProperty, _ []wireAux) (godbus.ObjectPath, *godbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] != nil {
		return "", godbus.NewError(unitExists, []any{"Unit " + name + " already exists."})
	}
	f.units[name] = map[string]godbus.Variant{}
	for _, p := range properties {
		f.units[name][p.Name] = p.Value
	}
	return f.job(name), nil
}

func (f *fakeManager) StartUnit(name, _ string) (godbus.ObjectPath, *godbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.job(name), nil
}

func (f *fakeManager) StopUnit(name, _ string) (godbus.ObjectPath, *godbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units[name] == nil {
		return "", godbus.NewError(noSuchUnit, []any{"Unit " + name + " not loaded."})
	}
	delete(f.units, name)
	return f.job(name), nil
}

func (f *fakeManager) SetUnitProperties(name string, _ bool, properties []wireProperty) *godbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range properties {
		f.units[name][p.Name] = p.Value
		f.set = append(f.set, p.Name)
	}
	return nil
}

// job announces the end of a job, on another connection than the one that asked.
func (f *fakeManager) job(unit string) godbus.ObjectPath {
	f.jobs++
	at := godbus.ObjectPath("/org/freedesktop/systemd1/job/1")
	result := f.result
	if result == "" {
		result = "done"
	}
	if result != "never" {
		for _, c := range f.conns {
			_ = c.Emit(managerPath, managerName+".JobRemoved", f.jobs, at, unit, result)
		}
	}
	return at
}

// unit answers for the properties of a unit.
type unit struct {
	f    *fakeManager
	name string
}

func (u unit) GetAll(string) (map[string]godbus.Variant, *godbus.Error) {
	u.f.mu.Lock()
	defer u.f.mu.Unlock()
	return u.f.units[u.name], nil
}

// silentBus takes what is asked of the bus itself.
type silentBus struct{}

func (silentBus) AddMatch(string) *godbus.Error { return nil }

const (
	sliceUnit = "ecstasks-a.slice"
	slicePath = "/org/freedesktop/systemd1/unit/ecstasks_2da_2eslice"
)

func newFakeManager(t *testing.T) (*fakeManager, Slices) {
	f := &fakeManager{units: map[string]map[string]godbus.Variant{}}
	t.Cleanup(func() {
		for _, c := range f.conns {
			_ = c.Close()
		}
	})
	dial := func() (*godbus.Conn, error) { return f.dial(t) }
	return f, Slices{func(context.Context) (*dbus.Conn, error) { return dbus.NewConnection(dial) }}
}

// dial joins a client and the manager. The library speaks only the client's side of
// the authentication, so both are clients of the pipe between them.
func (f *fakeManager) dial(t *testing.T) (*godbus.Conn, error) {
	clientEnd, a := net.Pipe()
	serverEnd, b := net.Pipe()
	go join(a, b)
	client, err := authenticated(clientEnd)
	if err != nil {
		return nil, err
	}
	server, err := authenticated(serverEnd)
	if err != nil {
		return nil, err
	}
	for _, e := range []error{
		server.Export(f, managerPath, managerName),
		server.Export(silentBus{}, "/org/freedesktop/DBus", "org.freedesktop.DBus"),
		server.Export(unit{f, sliceUnit}, slicePath, "org.freedesktop.DBus.Properties"),
	} {
		if e != nil {
			t.Error(e)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, server)
	return client, nil
}

func authenticated(end net.Conn) (*godbus.Conn, error) {
	c, err := godbus.NewConn(end)
	if err != nil {
		return nil, err
	}
	return c, c.Auth([]godbus.Auth{godbus.AuthExternal("0")})
}

// join lets both ends in and copies what they say then.
func join(a, b net.Conn) {
	fromA, fromB := letIn(a), letIn(b)
	var copies sync.WaitGroup
	copies.Go(func() { _, _ = io.Copy(b, fromA); _ = b.Close() })
	copies.Go(func() { _, _ = io.Copy(a, fromB); _ = a.Close() })
	copies.Wait()
}

func letIn(c net.Conn) *bufio.Reader {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		switch word := strings.Trim(line, "\x00\r\n"); {
		case err != nil || word == "BEGIN":
			return r
		case word == "AUTH":
			_, _ = io.WriteString(c, "REJECTED EXTERNAL\r\n")
		default:
			_, _ = io.WriteString(c, "OK 0123456789abcdef0123456789abcdef\r\n")
		}
	}
}

func TestSlices(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("life", func(t *testing.T) {
		f, s := newFakeManager(t)
		limits := map[string]any{"MemoryMax": uint64(1 << 20), "CPUAccounting": true}
		if err := s.StartSlice(t.Context(), sliceUnit, "a task", limits); err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for name, v := range f.units[sliceUnit] {
			got[name] = v.Value()
		}
		want := map[string]any{"Description": "a task", "DefaultDependencies": false, "MemoryMax": uint64(1 << 20), "CPUAccounting": true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("properties (-want +got)\n%s", diff)
		}
		if err := s.StartSlice(t.Context(), sliceUnit, "a task", limits); err != nil || len(f.set) > 0 {
			t.Errorf("again: set %q, %v", f.set, err)
		}
		limits["MemoryMax"] = uint64(2 << 20)
		if err := s.StartSlice(t.Context(), sliceUnit, "a task", limits); err != nil || !cmp.Equal(f.set, []string{"MemoryMax"}) {
			t.Errorf("with another limit: set %q, %v", f.set, err)
		}
		for range 2 {
			if err := s.StopSlice(t.Context(), sliceUnit); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		if len(f.units) > 0 {
			t.Errorf("left %v", f.units)
		}
	})
	t.Run("job fails", func(t *testing.T) {
		f, s := newFakeManager(t)
		f.result = "failed"
		if err := s.StartSlice(t.Context(), sliceUnit, "", nil); err == nil || !strings.Contains(err.Error(), `"failed"`) {
			t.Errorf("error %v", err)
		}
		if err := s.StopSlice(t.Context(), sliceUnit); err == nil {
			t.Error("stop: no error")
		}
	})
	t.Run("job hangs", func(t *testing.T) {
		f, s := newFakeManager(t)
		f.result = "never"
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := s.StartSlice(ctx, sliceUnit, "", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no systemd", func(t *testing.T) {
		refused := errors.New("refused")
		s := Slices{func(context.Context) (*dbus.Conn, error) { return nil, refused }}
		if err := s.StartSlice(t.Context(), sliceUnit, "", nil); !errors.Is(err, refused) {
			t.Errorf("start: %v", err)
		}
		if err := s.StopSlice(t.Context(), sliceUnit); !errors.Is(err, refused) {
			t.Errorf("stop: %v", err)
		}
	})
}
