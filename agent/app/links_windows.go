package app

import (
	"errors"

	"ecsagent/agent/network"
)

// hostLinks are the network interfaces of this host; nil where they are not watched.
func hostLinks() network.Links { return nil }

// vlans reports why the host cannot make VLAN devices.
func vlans() error { return errors.New("branch network interfaces are of Linux") }
