package hostport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"

	"ecsagent/agent/task"
)

// port is a port of the host.
type port struct {
	protocol task.Protocol
	number   uint16
}

// Probe reports whether nothing on the host listens on the port. It must be safe
// for concurrent use.
type Probe func(protocol task.Protocol, number uint16) bool

// Options are the allocator's settings.
type Options struct {
	Range Range // ECS_DYNAMIC_HOST_PORT_RANGE; zero: DefaultRange
	// Reserved ports are never handed out.
	Reserved map[task.Protocol][]uint16
	Probe    Probe // nil: Free
}

// Allocator hands out ports of the host. It is safe for concurrent use.
type Allocator struct {
	within   Range
	reserved map[port]bool
	probe    Probe

	mu   sync.Mutex
	held map[port]int // number of holders; more than one only for ports that definitions fix
	next uint16       // where the next search starts
}

// New makes an allocator.
func New(opts Options) *Allocator {
	if opts.Range == (Range{}) {
		opts.Range = DefaultRange(runtime.GOOS, os.ReadFile)
	}
	a := &Allocator{
		within: opts.Range, probe: opts.Probe, next: opts.Range.First,
		reserved: make(map[port]bool), held: make(map[port]int),
	}
	if a.probe == nil {
		a.probe = Free
	}
	for protocol, numbers := range opts.Reserved {
		for _, n := range numbers {
			a.reserved[port{protocol, n}] = true
		}
	}
	return a
}

// Free reports whether a listener can be opened on the port on all addresses.
func Free(protocol task.Protocol, number uint16) bool {
	address := ":" + strconv.Itoa(int(number))
	if protocol == task.UDP {
		c, err := net.ListenPacket("udp", address)
		return err == nil && c.Close() == nil
	}
	l, err := net.Listen("tcp", address)
	return err == nil && l.Close() == nil
}

// Allocate chooses host ports: one result per mapping, the first port where the
// mapping is a range, 0 where the definition fixes the port. All of them, fixed
// ones too, stay held until Release. When one cannot be had, none is held.
func (a *Allocator) Allocate(ports []task.PortMapping) ([]uint16, error) {
	chosen := make([]uint16, len(ports))
	for i, p := range ports {
		if err := a.allocate(p, &chosen[i]); err != nil {
			a.Release(ports[:i], chosen[:i])
			return nil, &task.Error{Name: "HostConfigError", Message: fmt.Sprintf("error retrieving docker port map: %s", err)}
		}
	}
	return chosen, nil
}

func (a *Allocator) allocate(p task.PortMapping, chosen *uint16) error {
	n := 1
	if p.Range != "" {
		r, err := ParseRange(p.Range)
		if err != nil {
			return err
		}
		n = r.Size()
	} else if p.HostPort != 0 {
		a.hold(p.Protocol, p.HostPort, 1)
		return nil
	}
	first, err := a.find(p.Protocol, n)
	*chosen = first
	return err
}

// Restore holds ports that were handed out before the agent was restarted.
func (a *Allocator) Restore(ports []task.PortMapping, chosen []uint16) {
	eachHeld(ports, chosen, a.hold)
}

// Release gives back what Allocate returned for the mappings. Mappings without a
// chosen port count for their fixed ports only.
func (a *Allocator) Release(ports []task.PortMapping, chosen []uint16) {
	eachHeld(ports, chosen, a.drop)
}

// eachHeld calls fn for the run of ports that each mapping holds.
func eachHeld(ports []task.PortMapping, chosen []uint16, fn func(protocol task.Protocol, first uint16, n int)) {
	for i, p := range ports {
		var pick uint16
		if i < len(chosen) {
			pick = chosen[i]
		}
		switch {
		case p.Range != "":
			if r, err := ParseRange(p.Range); err == nil && pick != 0 {
				fn(p.Protocol, pick, r.Size())
			}
		case p.HostPort != 0:
			fn(p.Protocol, p.HostPort, 1)
		case pick != 0:
			fn(p.Protocol, pick, 1)
		}
	}
}

func (a *Allocator) hold(protocol task.Protocol, first uint16, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range n {
		a.held[port{protocol, first + uint16(i)}]++
	}
}

func (a *Allocator) drop(protocol task.Protocol, first uint16, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range n {
		key := port{protocol, first + uint16(i)}
		if a.held[key]--; a.held[key] <= 0 {
			delete(a.held, key)
		}
	}
}

// find holds n ports in a row that nobody holds and nothing listens on. The search
// starts after the last port handed out and wraps once.
func (a *Allocator) find(protocol task.Protocol, n int) (uint16, error) {
	a.mu.Lock()
	at := int(a.next)
	a.mu.Unlock()
	wrapped := false
	for {
		first, ok := a.claim(protocol, n, at)
		if !ok {
			if wrapped {
				return 0, unavailable(n)
			}
			wrapped, at = true, int(a.within.First)
			continue
		}
		busy := a.lastBusy(protocol, first, n)
		if busy < 0 {
			a.advance(int(first) + n)
			return first, nil
		}
		a.drop(protocol, first, n)
		at = busy + 1
	}
}

func unavailable(n int) error {
	if n == 1 {
		return errors.New("a host port is unavailable")
	}
	return fmt.Errorf("%d contiguous host ports are unavailable", n)
}

// claim holds the first n ports in a row, from at on, that nobody holds.
func (a *Allocator) claim(protocol task.Protocol, n, at int) (uint16, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	run := 0
	for p := at; p <= int(a.within.Last); p++ {
		key := port{protocol, uint16(p)}
		if a.held[key] > 0 || a.reserved[key] {
			run = 0
			continue
		}
		if run++; run == n {
			first := p - n + 1
			for i := range n {
				a.held[port{protocol, uint16(first + i)}] = 1
			}
			return uint16(first), true
		}
	}
	return 0, false
}

// lastBusy returns the highest of the n ports on which something listens, or -1. The
// search can go on right after it.
func (a *Allocator) lastBusy(protocol task.Protocol, first uint16, n int) int {
	for i := n - 1; i >= 0; i-- {
		if p := first + uint16(i); !a.probe(protocol, p) {
			return int(p)
		}
	}
	return -1
}

// advance moves the cursor; past the end it goes back to the start.
func (a *Allocator) advance(next int) {
	if next > int(a.within.Last) {
		next = int(a.within.First)
	}
	a.mu.Lock()
	a.next = uint16(next)
	a.mu.Unlock()
}
