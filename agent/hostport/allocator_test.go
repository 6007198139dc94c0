package hostport

import (
	"errors"
	"io/fs"
	"net"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func free(task.Protocol, uint16) bool { return true }

func dynamic(protocol task.Protocol) []task.PortMapping {
	return []task.PortMapping{{ContainerPort: 80, Protocol: protocol}}
}

func TestAllocate(t *testing.T) {
	busy := func(ports ...uint16) Probe {
		return func(_ task.Protocol, n uint16) bool {
			for _, p := range ports {
				if p == n {
					return false
				}
			}
			return true
		}
	}
	span := []task.PortMapping{{Range: "9000-9002", Protocol: task.TCP}}
	tests := []struct {
		name     string
		reserved []uint16
		probe    Probe
		ports    []task.PortMapping
		want     []uint16
		wantErr  string
	}{
		{name: "nothing", want: []uint16{}},
		{name: "fixed", ports: []task.PortMapping{{ContainerPort: 80, HostPort: 8080, Protocol: task.TCP}}, want: []uint16{0}},
		{name: "dynamic", ports: dynamic(task.TCP), want: []uint16{100}},
		{name: "busy", probe: busy(100, 101), ports: dynamic(task.TCP), want: []uint16{102}},
		{name: "reserved", reserved: []uint16{100}, ports: dynamic(task.TCP), want: []uint16{101}},
		{name: "protocols are apart", ports: append(dynamic(task.TCP), dynamic(task.UDP)...), want: []uint16{100, 101}},
		{name: "fixed one is avoided", ports: append([]task.PortMapping{{ContainerPort: 1, HostPort: 100, Protocol: task.TCP}}, dynamic(task.TCP)...), want: []uint16{0, 101}},
		{name: "range", ports: span, want: []uint16{100}},
		{name: "range after hole", probe: busy(101), ports: span, want: []uint16{102}},
		{name: "range around reserved", reserved: []uint16{102}, ports: span, want: []uint16{103}},
		{name: "full", probe: func(task.Protocol, uint16) bool { return false }, ports: dynamic(task.TCP), wantErr: "HostConfigError: error retrieving docker port map: a host port is unavailable"},
		{name: "no room", probe: busy(102, 105, 108), ports: span, wantErr: "HostConfigError: error retrieving docker port map: 3 contiguous host ports are unavailable"},
		{name: "bad range", ports: []task.PortMapping{{Range: "1-"}}, wantErr: `HostConfigError: error retrieving docker port map: strconv.ParseUint: parsing "": invalid syntax`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.probe == nil {
				tt.probe = free
			}
			a := New(Options{Range: Range{100, 109}, Probe: tt.probe, Reserved: map[task.Protocol][]uint16{task.TCP: tt.reserved}})
			got, err := a.Allocate(tt.ports)
			if tt.wantErr != "" {
				var reason *task.Error
				if !errors.As(err, &reason) || reason.Error() != tt.wantErr {
					t.Fatalf("error %v, want %s", err, tt.wantErr)
				}
				if len(a.held) != 0 {
					t.Errorf("still held: %v", a.held)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

// The search goes on after the last port, wraps once, and comes back to ports that
// were released.
func TestCursor(t *testing.T) {
	a := New(Options{Range: Range{10, 12}, Probe: free})
	var got []uint16
	for range 3 {
		p, err := a.Allocate(dynamic(task.TCP))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[0])
	}
	if got[0] != 10 || got[1] != 11 || got[2] != 12 {
		t.Fatalf("got %v", got)
	}
	if _, err := a.Allocate(dynamic(task.TCP)); err == nil {
		t.Fatal("a held port was handed out")
	}
	a.Release(dynamic(task.TCP), []uint16{11})
	if p, err := a.Allocate(dynamic(task.TCP)); err != nil || p[0] != 11 {
		t.Fatalf("got %v, %v", p, err)
	}
}

// Two containers may fix the same port (one of them will fail to start): it stays
// held until both let go.
func TestFixedPortsAreCounted(t *testing.T) {
	fixed := []task.PortMapping{{ContainerPort: 80, HostPort: 10, Protocol: task.TCP}}
	a := New(Options{Range: Range{10, 10}, Probe: free})
	for range 2 {
		if _, err := a.Allocate(fixed); err != nil {
			t.Fatal(err)
		}
	}
	a.Release(fixed, nil)
	if _, err := a.Allocate(dynamic(task.TCP)); err == nil {
		t.Fatal("port is still held once")
	}
	a.Release(fixed, []uint16{0})
	if _, err := a.Allocate(dynamic(task.TCP)); err != nil {
		t.Fatal(err)
	}
}

func TestFreeAsksTheHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil && runtime.GOOS == "windows" {
		t.Skip("Wine before version 9 opens no UDP socket for Go:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	tcp := uint16(l.Addr().(*net.TCPAddr).Port)
	udp := uint16(u.LocalAddr().(*net.UDPAddr).Port)
	if Free(task.TCP, tcp) {
		t.Errorf("tcp %d is in use", tcp)
	}
	if Free(task.UDP, udp) {
		t.Errorf("udp %d is in use", udp)
	}
	p, err := New(Options{}).Allocate([]task.PortMapping{{ContainerPort: 1, Protocol: task.TCP}, {ContainerPort: 1, Protocol: task.UDP}, {Range: "1-5", Protocol: task.TCP}})
	if err != nil || p[0] == 0 || p[1] == 0 || p[2] == 0 {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestConcurrentAllocations(t *testing.T) {
	a := New(Options{Range: Range{1000, 1399}, Probe: free})
	var wg sync.WaitGroup
	got := make([][]uint16, 100)
	for i := range got {
		wg.Go(func() {
			p, err := a.Allocate([]task.PortMapping{{ContainerPort: 1, Protocol: task.TCP}, {Range: "1-3", Protocol: task.TCP}})
			if err == nil {
				got[i] = p
			}
		})
	}
	wg.Wait()
	seen := map[uint16]bool{}
	for _, p := range got {
		if len(p) == 0 {
			continue // fragmentation may cost the last ones their range
		}
		for _, n := range []uint16{p[0], p[1], p[1] + 1, p[1] + 2} {
			if seen[n] {
				t.Fatalf("port %d twice", n)
			}
			seen[n] = true
		}
	}
	if len(seen) < 300 {
		t.Errorf("only %d ports handed out", len(seen))
	}
}

// Whatever is allocated and released in whatever order: no port is held twice, none
// is outside the range, busy or reserved, and an answer of "unavailable" is true.
func TestAllocatorProperties(t *testing.T) {
	type grant struct {
		ports  []task.PortMapping
		chosen []uint16
	}
	rapid.Check(t, func(t *rapid.T) {
		within := Range{First: 20, Last: uint16(20 + rapid.IntRange(0, 30).Draw(t, "size"))}
		busy := rapid.MapOf(rapid.Uint16Range(20, 50), rapid.Just(true)).Draw(t, "busy")
		reserved := rapid.SliceOf(rapid.Uint16Range(20, 50)).Draw(t, "reserved")
		a := New(Options{
			Range: within, Reserved: map[task.Protocol][]uint16{task.TCP: reserved},
			Probe: func(_ task.Protocol, n uint16) bool { return !busy[n] },
		})
		blocked := map[port]bool{}
		for _, p := range reserved {
			blocked[port{task.TCP, p}] = true
		}
		for p := range busy {
			blocked[port{task.TCP, p}] = true
			blocked[port{task.UDP, p}] = true
		}
		held := map[port]bool{}
		room := func(protocol task.Protocol, n int) bool {
			run := 0
			for p := int(within.First); p <= int(within.Last); p++ {
				if key := (port{protocol, uint16(p)}); held[key] || blocked[key] {
					run = 0
				} else if run++; run == n {
					return true
				}
			}
			return false
		}
		var grants []grant
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(grants) > 0 && rapid.Bool().Draw(t, "release") {
				i := rapid.IntRange(0, len(grants)-1).Draw(t, "which")
				a.Release(grants[i].ports, grants[i].chosen)
				for j := range grants[i].ports {
					for n := range size(grants[i].ports[j]) {
						delete(held, port{grants[i].ports[j].Protocol, grants[i].chosen[j] + uint16(n)})
					}
				}
				grants = append(grants[:i], grants[i+1:]...)
				continue
			}
			n := rapid.IntRange(1, 5).Draw(t, "n")
			m := task.PortMapping{Protocol: rapid.SampledFrom([]task.Protocol{task.TCP, task.UDP}).Draw(t, "protocol")}
			if n == 1 {
				m.ContainerPort = 80
			} else {
				m.Range = Range{First: 100, Last: uint16(100 + n - 1)}.String()
			}
			chosen, err := a.Allocate([]task.PortMapping{m})
			if err != nil {
				if room(m.Protocol, n) {
					t.Fatalf("refused %+v although there is room: %v", m, err)
				}
				continue
			}
			for i := range n {
				key := port{m.Protocol, chosen[0] + uint16(i)}
				if key.number < within.First || key.number > within.Last || held[key] || blocked[key] {
					t.Fatalf("handed out %+v", key)
				}
				held[key] = true
			}
			grants = append(grants, grant{[]task.PortMapping{m}, chosen})
		}
		for _, g := range grants {
			a.Release(g.ports, g.chosen)
		}
		if len(a.held) != 0 {
			t.Fatalf("held at the end: %v", a.held)
		}
	})
}

func size(m task.PortMapping) int {
	r, err := ParseRange(m.Range)
	if err != nil {
		return 1
	}
	return r.Size()
}

func TestRestore(t *testing.T) {
	ports := []task.PortMapping{{Range: "1-3", Protocol: task.TCP}, {ContainerPort: 9, Protocol: task.TCP}}
	a := New(Options{Range: Range{10, 14}, Probe: free})
	a.Restore(ports, []uint16{10, 13})
	if p, err := a.Allocate(dynamic(task.TCP)); err != nil || p[0] != 14 {
		t.Fatalf("got %v, %v", p, err)
	}
	a.Release(ports, []uint16{10, 13})
	if p, err := a.Allocate(dynamic(task.TCP)); err != nil || p[0] != 10 {
		t.Fatalf("got %v, %v", p, err)
	}
}

func TestDefaultRange(t *testing.T) {
	file := func(text string, err error) func(string) ([]byte, error) {
		return func(string) ([]byte, error) { return []byte(text), err }
	}
	for _, tt := range []struct {
		os   string
		read func(string) ([]byte, error)
		want Range
	}{
		{"linux", file("32768\t60999\n", nil), Range{32768, 60999}},
		{"linux", file("", fs.ErrNotExist), Range{49153, 65535}},
		{"linux", file("garbage", nil), Range{49153, 65535}},
		{"windows", file("1 2", nil), Range{49152, 65535}},
	} {
		if got := DefaultRange(tt.os, tt.read); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.os, got, tt.want)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"1-2", "0-1", "65535-65535", "5-4", "-", "1", "1-2-3", " 1-2", "99999-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRange(text)
		if err == nil && (r.First == 0 || r.First > r.Last || r.Size() < 1) {
			t.Errorf("%q is %v", text, r)
		}
		if err == nil {
			if again, err := ParseRange(r.String()); err != nil || again != r {
				t.Errorf("%q: %v, %v", text, again, err)
			}
		}
	})
}
