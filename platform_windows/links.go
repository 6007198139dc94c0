package windows

import (
	"bytes"
	"strings"

	"ecsagent/agent/network"
	"ecsagent/cni/vswitch"
)

// hostSide is what the host's own adapters on virtual switches are called, and their kind
// among links: they are no devices, whatever address they have (docs/spec/05 section 2.7).
const hostSide = "vEthernet"

func linkOf(a vswitch.Adapter) network.Link {
	l := network.Link{Index: a.Index, Name: a.Name, MAC: a.MAC}
	if strings.HasPrefix(a.Name, hostSide) {
		l.Kind = hostSide
	}
	return l
}

// changesOf is what has happened between two lists of links.
func changesOf(before, after []network.Link) (changes []network.Change) {
	missing := func(l network.Link, in []network.Link) bool {
		for _, other := range in {
			if other.Index == l.Index && other.Kind == l.Kind && bytes.Equal(other.MAC, l.MAC) {
				return false
			}
		}
		return true
	}
	for _, l := range before {
		if missing(l, after) {
			changes = append(changes, network.Change{Link: l, Gone: true})
		}
	}
	for _, l := range after {
		if missing(l, before) {
			changes = append(changes, network.Change{Link: l})
		}
	}
	return changes
}
