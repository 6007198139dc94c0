package proxyrules

import "net/netip"

// Set is all rules of one plugin for one address family.
type Set struct {
	// Name is the name of the nftables table.
	Name   string
	IPv6   bool
	Chains []Chain
}

// Chain is a chain of rules in one of iptables' tables.
type Chain struct {
	// Name is the chain's; one of the two built-in ones, PREROUTING and OUTPUT, or a new
	// one that a built-in one jumps to.
	Name  string
	Table Table
	Rules []Rule
}

// Table is what kind of rules a chain holds.
type Table string

// The tables.
const (
	NAT    Table = "nat"
	Mangle Table = "mangle"
)

// The built-in chains.
const (
	Prerouting = "PREROUTING"
	Output     = "OUTPUT"
)

// Rule is one rule: all that is set has to match.
type Rule struct {
	TCP            bool
	UID, GID       *uint32
	Ports          []uint16 // any of these destination ports
	To             netip.Prefix
	SourceNotLocal bool
	TargetNotLocal bool
	OwnSocket      bool // belongs to a socket of this host
	Verdict        Verdict
}

// Verdict is what happens to a packet. One field, or TProxy and Mark, is set.
type Verdict struct {
	Return, Accept bool
	Redirect       uint16 // to this port of the host
	TProxy         uint16 // to the socket that listens there, unchanged
	Mark           uint32
	Jump           string
}
