package vswitch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
)

var errFault = errors.New("HNS is busy")

// fakeWindows is a host with the state that HNS keeps: names are unique, a network with
// endpoints stays, a switch takes its adapter from the host and leaves it one of its own,
// a container that ends takes its attachments along.
type fakeWindows struct {
	major, minor int
	networks     map[string]Network
	endpoints    map[string]Endpoint
	attached     map[string]bool // "place endpoint"
	containers   map[string]bool
	adapters     []Adapter
	taken        map[string]Adapter // by network, away from the host
	ids          int

	calls  []string
	failAt int  // the call that fails, from 1; 0: none
	dead   bool // and all after it: the process is gone
	late   bool // the failing call does its work all the same
	hidden bool // no adapter appears on a new switch
}

const (
	eniMAC = "06:1f:2e:3d:4c:5b"
	pause  = "9c41d27e55b0"
)

func newWindows() *fakeWindows {
	parse := func(s string) net.HardwareAddr {
		mac, err := net.ParseMAC(s)
		if err != nil {
			panic(err)
		}
		return mac
	}
	w := &fakeWindows{
		major: 9, minor: 2, networks: map[string]Network{}, endpoints: map[string]Endpoint{}, attached: map[string]bool{},
		containers: map[string]bool{pause: true, "app": true}, taken: map[string]Adapter{},
		adapters: []Adapter{
			{Index: 3, Name: "Ethernet 2", MAC: parse("06:00:00:00:00:01"), Up: true, Gateway: true},
			{Index: 7, Name: "Ethernet 4", MAC: parse(eniMAC), Up: true, Gateway: true},
			{Index: 8, Name: "vEthernet (nat)", MAC: parse("00:15:5d:00:00:01"), Up: true},
		},
	}
	w.networks["nat"] = Network{ID: "nat", Name: "nat", Type: "NAT", Subnet: netip.MustParsePrefix("172.30.16.0/20")}
	return w
}

func (w *fakeWindows) host() Host { return Host{w, w} }

// call counts a call. With work it is told to fail before or after the work.
func (w *fakeWindows) call(name string, work func() error) error {
	w.calls = append(w.calls, name)
	n := len(w.calls)
	if n == w.failAt && w.late {
		_ = work()
		return errFault
	}
	if w.failAt > 0 && (n == w.failAt || w.dead && n > w.failAt) {
		return errFault
	}
	return work()
}

// again forgets the calls and the faults.
func (w *fakeWindows) again() {
	w.calls, w.failAt, w.dead, w.late = nil, 0, false, false
}

func (w *fakeWindows) id() string {
	w.ids++
	return fmt.Sprint("id-", w.ids)
}

func (w *fakeWindows) Version(context.Context) (int, int, error) {
	return w.major, w.minor, w.call("version", func() error { return nil })
}

func (w *fakeWindows) Networks(context.Context) (all []Network, err error) {
	err = w.call("list networks", func() error {
		all = slices.Collect(maps.Values(w.networks))
		return nil
	})
	return all, err
}

func (w *fakeWindows) Endpoints(context.Context) (all []Endpoint, err error) {
	err = w.call("list endpoints", func() error {
		all = slices.Collect(maps.Values(w.endpoints))
		return nil
	})
	return all, err
}

func (w *fakeWindows) NetworkByName(_ context.Context, name string) (n Network, err error) {
	err = w.call("find network "+name, func() error {
		for _, n = range w.networks {
			if n.Name == name {
				return nil
			}
		}
		return ErrNotFound
	})
	return n, err
}

func (w *fakeWindows) CreateNetwork(_ context.Context, n Network) (Network, error) {
	err := w.call("create network "+n.Name, func() error {
		for _, other := range w.networks {
			if other.Name == n.Name || other.Adapter == n.Adapter {
				return fmt.Errorf("network %s exists", other.Name)
			}
		}
		i := slices.IndexFunc(w.adapters, func(a Adapter) bool { return a.Name == n.Adapter })
		if i < 0 {
			return fmt.Errorf("no adapter %s", n.Adapter)
		}
		n.ID = w.id()
		w.networks[n.ID], w.taken[n.ID] = n, w.adapters[i]
		w.adapters[i].Gateway = false
		if !w.hidden {
			w.adapters = append(w.adapters, Adapter{Index: 100 + w.ids, Name: "vEthernet (" + n.Adapter + ")", MAC: w.adapters[i].MAC, Up: true, Gateway: true})
		}
		return nil
	})
	return n, err
}

func (w *fakeWindows) DeleteNetwork(_ context.Context, id string) error {
	return w.call("delete network", func() error {
		n, ok := w.networks[id]
		if !ok {
			return ErrNotFound
		}
		for _, e := range w.endpoints {
			if e.Network == n.Name {
				return fmt.Errorf("network %s has endpoints", n.Name)
			}
		}
		delete(w.networks, id)
		w.adapters = slices.DeleteFunc(w.adapters, func(a Adapter) bool { return a.Name == "vEthernet ("+n.Adapter+")" })
		for i := range w.adapters {
			if w.adapters[i].Index == w.taken[id].Index {
				w.adapters[i] = w.taken[id]
			}
		}
		delete(w.taken, id)
		return nil
	})
}

func (w *fakeWindows) EndpointByName(_ context.Context, name string) (e Endpoint, err error) {
	err = w.call("find endpoint "+name, func() error {
		for _, e = range w.endpoints {
			if e.Name == name {
				return nil
			}
		}
		return ErrNotFound
	})
	return e, err
}

func (w *fakeWindows) CreateEndpoint(_ context.Context, e Endpoint) (Endpoint, error) {
	err := w.call("create endpoint "+e.Name, func() error {
		for _, other := range w.endpoints {
			if other.Name == e.Name {
				return fmt.Errorf("endpoint %s exists", e.Name)
			}
		}
		for _, n := range w.networks {
			if n.Name != e.Network {
				continue
			}
			e.ID, e.Gateway = w.id(), n.Gateway
			if !e.Address.IsValid() {
				e.Address = netip.PrefixFrom(n.Subnet.Addr().Next().Next(), n.Subnet.Bits())
			}
			if e.MAC == nil {
				e.MAC = net.HardwareAddr{0, 0x15, 0x5d, 0, 1, byte(w.ids)}
			}
			w.endpoints[e.ID] = e
			return nil
		}
		return fmt.Errorf("no network %s", e.Network)
	})
	return e, err
}

func (w *fakeWindows) DeleteEndpoint(_ context.Context, id string) error {
	return w.call("delete endpoint", func() error {
		if _, ok := w.endpoints[id]; !ok {
			return ErrNotFound
		}
		delete(w.endpoints, id)
		maps.DeleteFunc(w.attached, func(k string, _ bool) bool { return strings.HasSuffix(k, " "+id) })
		return nil
	})
}

func (w *fakeWindows) Attach(_ context.Context, where Place, id string) error {
	return w.call("attach to "+where.Container+where.Namespace, func() error {
		if _, ok := w.endpoints[id]; !ok {
			return ErrNotFound
		}
		if where.Namespace == "" && !w.containers[where.Container] {
			return ErrGone
		}
		w.attached[where.Container+where.Namespace+" "+id] = true
		return nil
	})
}

func (w *fakeWindows) Detach(_ context.Context, where Place, id string) error {
	return w.call("detach from "+where.Container+where.Namespace, func() error {
		if where.Namespace == "" && !w.containers[where.Container] {
			return ErrGone
		}
		delete(w.attached, where.Container+where.Namespace+" "+id)
		return nil
	})
}

func (w *fakeWindows) All(context.Context) (all []Adapter, err error) {
	err = w.call("list adapters", func() error {
		all = slices.Clone(w.adapters)
		return nil
	})
	return all, err
}

func (w *fakeWindows) Disable(_ context.Context, a Adapter) error {
	return w.call("disable "+a.Name, func() error {
		for i := range w.adapters {
			if w.adapters[i].Index == a.Index {
				w.adapters[i].Up, w.adapters[i].Gateway = false, false
				return nil
			}
		}
		return ErrNotFound
	})
}

// restart is a start of HNS anew, which may forget endpoints, and networks with them.
func (w *fakeWindows) restart(networks bool) {
	w.again()
	w.endpoints, w.attached = map[string]Endpoint{}, map[string]bool{}
	for id := range w.networks {
		if networks && id != "nat" {
			_ = w.DeleteNetwork(context.Background(), id)
		}
	}
	w.again()
}

// end is the end of a container, also one that nobody asked for.
func (w *fakeWindows) end(container string) {
	delete(w.containers, container)
	maps.DeleteFunc(w.attached, func(k string, _ bool) bool { return strings.HasPrefix(k, container+" ") })
}

// state is what there is, to compare.
func (w *fakeWindows) state() string {
	var out []string
	for _, n := range w.networks {
		out = append(out, "network "+n.Name)
	}
	for _, e := range w.endpoints {
		out = append(out, "endpoint "+e.Name)
		for k := range w.attached {
			if place, id, _ := strings.Cut(k, " "); id == e.ID {
				out = append(out, "attached "+e.Name+" "+place)
			}
		}
	}
	for _, a := range w.adapters {
		out = append(out, fmt.Sprintf("adapter %s up=%v gateway=%v", a.Name, a.Up, a.Gateway))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
