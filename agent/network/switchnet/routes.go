package switchnet

import (
	"fmt"
	"net/netip"
	"strings"
)

// The endpoints that tasks ask, of the agent and of the host.
var (
	credentials = netip.MustParsePrefix("169.254.170.2/32")
	metadata    = netip.MustParsePrefix("169.254.169.254/32")
	everywhere  = netip.MustParsePrefix("0.0.0.0/0")
)

// Bridge is the task's place on Docker's network, as HNS chose it.
type Bridge struct {
	Address netip.Prefix
	Gateway netip.Addr // invalid: none
}

// change is a route that has to be there, or must not be.
type change struct {
	add     bool
	prefix  netip.Prefix
	adapter string
}

// changes are those of the pause container's routes (docs/spec/05 section 5.7): the way out
// is the task's interface, and nothing but the agent is behind Docker's network.
func changes(p Plan, pause string, b Bridge, s Settings) []change {
	out := bridgeAdapter(pause)
	list := []change{{false, everywhere, out}, {false, b.Address.Masked(), out}, {true, credentials, out}}
	if !s.BlockMetadata {
		list = append(list, change{true, metadata, taskAdapter(p.mac, pause)})
	}
	for _, r := range s.LocalRoutes {
		if r.Addr().Is4() {
			list = append(list, change{true, r.Masked(), out})
		}
	}
	return list
}

// command is how a change is asked for. Docker hands the words to the program as they are:
// no shell reads them.
func (c change) command() []string {
	verb := "delete"
	if c.add {
		verb = "add"
	}
	return []string{"netsh", "interface", "ipv4", verb, "route", "prefix=" + c.prefix.String(), "interface=" + c.adapter, "store=active"}
}

// listRoutes is how the routes are asked for.
var listRoutes = []string{"netsh", "interface", "ipv4", "show", "route"}

// route is a line of the list.
type route struct {
	prefix netip.Prefix
	via    string // a gateway, or the name of an adapter
}

// routesIn reads the list of routes: "Publish Type Met Prefix Idx Gateway/Interface Name",
// whose words are in the host's language.
func routesIn(text string) (list []route) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for i, w := range words {
			if p, err := netip.ParsePrefix(w); err == nil && len(words) > i+2 {
				list = append(list, route{p, strings.Join(words[i+2:], " ")})
				break
			}
		}
	}
	return list
}

// undone is which of the changes the list of routes does not show.
func undone(wanted []change, b Bridge, list []route) (left []change) {
	for _, c := range wanted {
		there := false
		for _, r := range list {
			if r.prefix != c.prefix {
				continue
			}
			// A way out through the task's interface is not the one to delete.
			there = there || c.add || c.prefix != everywhere || r.via == c.adapter || b.Gateway.IsValid() && r.via == b.Gateway.String()
		}
		if there != c.add {
			left = append(left, c)
		}
	}
	return left
}

func (c change) String() string {
	if c.add {
		return fmt.Sprintf("no route to %s on %s", c.prefix, c.adapter)
	}
	return fmt.Sprintf("still a route to %s on %s", c.prefix, c.adapter)
}
