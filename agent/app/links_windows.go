package app

import "ecsagent/agent/network"

// hostLinks are the network interfaces of this host; nil where they are not watched.
func hostLinks() network.Links { return nil }
