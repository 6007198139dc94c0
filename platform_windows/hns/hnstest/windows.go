package hnstest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// What Windows answers with.
const (
	ok             = 0
	systemNotFound = 0xC037010E // HCS_E_SYSTEM_NOT_FOUND
	hcnNotFound    = 0x803B0006 // HCN_E_NAMESPACE_NOT_FOUND
	notKnown       = 0x80004001 // E_NOTIMPL
)

// Windows is the state of a host.
type Windows struct {
	// Runs reports whether a compute system is there; nil: all are.
	Runs func(id string) bool
	// PowerShell answers commands that are no adapter's; nil: they succeed.
	PowerShell func(command string) (code int, output string)

	mu         sync.Mutex
	version    [2]int
	networks   []*network
	endpoints  []*endpoint
	namespaces map[string][]string // to their endpoints
	disabled   map[int]bool
	calls      []string
	faults     []string // beginnings of calls that fail, once each

	serving sync.WaitGroup
}

type network struct {
	ID                 string
	Name               string
	Type               string
	NetworkAdapterName string `json:",omitempty"`
	Subnets            []subnet
	State              int
	Version            int64
	Policies           []json.RawMessage
	index              int // of the adapter that the host gets
}

type subnet struct {
	AddressPrefix  string
	GatewayAddress string `json:",omitempty"`
}

type endpoint struct {
	ID                 string
	Name               string
	VirtualNetwork     string
	VirtualNetworkName string
	Type               string
	MacAddress         string
	IPAddress          string
	PrefixLength       int
	GatewayAddress     string `json:",omitempty"`
	DNSServerList      string `json:",omitempty"`
	DNSSuffix          string `json:",omitempty"`
	Policies           []json.RawMessage
	SharedContainers   []string
	State              int
}

// New returns a host with Docker's network nat.
func New() *Windows {
	w := &Windows{version: [2]int{9, 5}, namespaces: map[string][]string{}, disabled: map[int]bool{}}
	w.networks = append(w.networks, &network{ID: newID(), Name: "nat", Type: "nat", State: 1, Subnets: []subnet{{"172.30.16.0/20", "172.30.16.1"}}})
	return w
}

func newID() string { return strings.ToUpper(uuid.NewString()) }

// Serve answers the stand-ins that come to a listener, until it is closed.
func (w *Windows) Serve(l net.Listener) {
	defer w.serving.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		w.serving.Go(func() {
			defer c.Close()
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil {
				return
			}
			field := append(strings.Split(strings.TrimRight(line, "\n"), "\t"), "", "", "", "")
			code, said := w.call(field[0], field[1], field[2], field[3])
			_, _ = fmt.Fprintf(c, "%08x\n%s", code, said)
		})
	}
}

// Fail makes the next call that begins so fail, as when HNS is busy.
func (w *Windows) Fail(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, call)
}

// SetVersion makes it the HNS of another Windows.
func (w *Windows) SetVersion(major, minor int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version = [2]int{major, minor}
}

// Calls is what was asked so far, but for lists of adapters.
func (w *Windows) Calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// State is what there is, a line each, in order.
func (w *Windows) State() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, n := range w.networks {
		line := "network " + n.Name
		if n.index > 0 {
			line += fmt.Sprintf(" on %s, up on the host: %v", n.NetworkAdapterName, !w.disabled[n.index])
		}
		lines = append(lines, line)
	}
	for _, e := range w.endpoints {
		lines = append(lines, fmt.Sprintf("endpoint %s %s/%d in %d", e.Name, e.IPAddress, e.PrefixLength, len(e.SharedContainers)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Left is a network and an endpoint of a task that is not there any more, as after a
// restart of the host.
func (w *Windows) Left(mac, pause string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := &network{ID: newID(), Name: "taskbr" + mac, Type: "Transparent", NetworkAdapterName: "Ethernet 9", State: 1}
	w.networks = append(w.networks, n)
	w.endpoints = append(w.endpoints, &endpoint{ID: newID(), Name: n.Name + "-ep-" + pause, VirtualNetwork: n.ID, VirtualNetworkName: n.Name})
}

// AddNamespace makes a namespace of HCN.
func (w *Windows) AddNamespace() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := newID()
	w.namespaces[id] = nil
	return id
}

func (w *Windows) call(what, a, b, c string) (code uint32, said string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if what == "ADAPTERS" {
		return ok, w.adapters()
	}
	text := strings.TrimSpace(strings.Join([]string{what, a, b, c}, " "))
	w.calls = append(w.calls, text)
	for i, f := range w.faults {
		if strings.HasPrefix(text, f) {
			w.faults = slices.Delete(w.faults, i, i+1)
			return ok, `{"Success":false,"Error":"Die angeforderte Ressource wird bereits verwendet. ","ErrorCode":2147942570}`
		}
	}
	switch {
	case what == "HNS":
		return ok, w.hns(a, b, c)
	case what == "HCS open":
		if w.Runs != nil && !w.Runs(a) {
			return systemNotFound, ""
		}
		return ok, ""
	case what == "HCS modify":
		return ok, w.modify(a, b)
	case strings.HasPrefix(what, "HCN "):
		return w.hcn(what, a, b)
	case what == "POWERSHELL":
		return w.shell(a)
	}
	return notKnown, ""
}

// adapters are those that the host has on the switches of tasks: index, whether it is up,
// address, name.
func (w *Windows) adapters() string {
	var b strings.Builder
	for _, n := range w.networks {
		if hex, is := strings.CutPrefix(n.Name, "taskbr"); is && n.index > 0 {
			up := 1
			if w.disabled[n.index] {
				up = 0
			}
			var parts []string
			for pair := range slices.Chunk([]byte(hex), 2) {
				parts = append(parts, string(pair))
			}
			fmt.Fprintf(&b, "%d\t%d\t%s\tvEthernet (%s)\t\n", n.index, up, strings.Join(parts, ":"), n.NetworkAdapterName)
		}
	}
	return b.String()
}

func (w *Windows) shell(command string) (uint32, string) {
	var index int
	if _, rest, is := strings.Cut(command, "Get-NetAdapter -InterfaceIndex "); is && strings.Contains(rest, "| Disable-NetAdapter -Confirm:$false") {
		if _, err := fmt.Sscan(rest, &index); err == nil {
			w.disabled[index] = true
			return ok, ""
		}
	}
	if w.PowerShell == nil {
		return ok, ""
	}
	code, output := w.PowerShell(command)
	return uint32(code), output
}
