package taskpath

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Address is where tasks look for the agent, and Port the port there.
var Address = netip.MustParseAddr("169.254.170.2")

// Port of Address.
const Port = 80

// Presence is how far an address has come.
type Presence int

// An address that is Tentative is not to be used: Windows still looks for a double.
const (
	Absent Presence = iota
	Tentative
	Preferred
)

// State is what there is on the host.
type State struct {
	Adapter int            // index of the host's adapter on the network nat; 0: there is none
	Address Presence       // of Address, on whatever adapter
	Proxy   netip.AddrPort // where Address leads to; invalid: nowhere
	Door    bool           // the firewall lets tasks in
}

// Step is one thing to do.
type Step int

// The steps.
const (
	AddAddress Step = iota
	AwaitAddress
	RemoveProxy
	AddProxy
	OpenDoor
)

var stepNames = [...]string{"add the address 169.254.170.2", "wait for the address 169.254.170.2", "remove the proxy of 169.254.170.2:80",
	"add the proxy of 169.254.170.2:80", "open the firewall"}

func (s Step) String() string { return stepNames[s] }

// ErrNoAdapter says that Docker's network nat has no adapter on the host.
var ErrNoAdapter = errors.New(`the host has no adapter "vEthernet (nat)": Docker's network nat is not there`)

// Plan is what to do so that tasks reach the agent at an address of this host. A proxy
// that was made before its address stays deaf, so it is made again after it.
func Plan(s State, agent netip.AddrPort) ([]Step, error) {
	var steps []Step
	again := s.Proxy != agent
	if s.Address == Absent {
		if s.Adapter == 0 {
			return nil, ErrNoAdapter
		}
		steps = append(steps, AddAddress)
	}
	if s.Address != Preferred {
		steps, again = append(steps, AwaitAddress), true
	}
	if again {
		if s.Proxy.IsValid() {
			steps = append(steps, RemoveProxy)
		}
		steps = append(steps, AddProxy)
	}
	if !s.Door {
		steps = append(steps, OpenDoor)
	}
	return steps, nil
}

// command is how a step is asked of netsh.
func command(step Step, adapter int, agent netip.AddrPort) []string {
	listen := []string{"listenaddress=" + Address.String(), fmt.Sprint("listenport=", Port)}
	switch step {
	case AddAddress:
		// Until the next start of the host, and never the source of what the host sends.
		return []string{"interface", "ipv4", "add", "address", fmt.Sprint("name=", adapter), "address=" + Address.String(), "mask=255.255.255.255",
			"store=active", "skipassource=true"}
	case RemoveProxy:
		return append([]string{"interface", "portproxy", "delete", "v4tov4"}, listen...)
	case AddProxy:
		return append(append([]string{"interface", "portproxy", "add", "v4tov4"}, listen...),
			"connectaddress="+agent.Addr().String(), fmt.Sprint("connectport=", agent.Port()))
	case OpenDoor:
		return []string{"advfirewall", "firewall", "add", "rule", fmt.Sprint("name=Allow Inbound Port ", agent.Port()),
			"dir=in", "action=allow", "protocol=TCP", fmt.Sprint("localport=", agent.Port())}
	}
	return nil
}

// opens reports whether a firewall rule, as the registry has it, lets tasks in.
func opens(rule string, agent netip.AddrPort) bool {
	has := make(map[string]bool)
	for _, part := range strings.Split(rule, "|") {
		has[part] = true
	}
	return has["Action=Allow"] && has["Active=TRUE"] && has["Dir=In"] && has["Protocol=6"] && has[fmt.Sprint("LPort=", agent.Port())]
}

// isNAT reports whether an adapter is the host's on the network nat. Windows numbers the
// name of one that is made anew while it still knows the former.
func isNAT(name string) bool {
	const nat = "vEthernet (nat)"
	if len(name) < len(nat) || !strings.EqualFold(name[:len(nat)], nat) {
		return false
	}
	number := strings.TrimPrefix(name[len(nat):], " ")
	return len(name) == len(nat) || len(number) < len(name)-len(nat) && number != "" && strings.Trim(number, "0123456789") == ""
}

// proxyTarget reads where a proxy leads, as the registry has it: "127.0.0.1/51679".
func proxyTarget(text string) netip.AddrPort {
	host, port, _ := strings.Cut(text, "/")
	to, err := netip.ParseAddrPort(host + ":" + port)
	if err != nil {
		return netip.AddrPort{}
	}
	return to
}
