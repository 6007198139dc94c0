// Package vpc stands in for a VPC on one Linux machine (docs/spec/05 section 7.2): a
// network namespace with a router plays the subnet, and each elastic network interface is
// a veth pair between it and the host of the agent.
//
//	namespace NAME                                    host of the agent
//	vpcbr 10.20.1.1/24
//	├ v0a140104 ─────────────── veth ─────────────── ecsx0a140104 ──▶ eth0 of a task
//	├ v0a140105 ─────────────── veth ─────────────── ecsx0a140105 ──▶ eth0 of another
//	lo 169.254.169.254/32 and fd00:ec2::254/128, with instance metadata
//
// Both ends have the last four bytes of the MAC address in their names. Nothing of the
// host itself is changed but that the ends appear there.
package vpc

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"

	"go.uber.org/zap"
)

// Defaults of Options.
const (
	DefaultName   = "ecs-local"
	DefaultSubnet = "10.20.1.1/24"
	// DefaultSubnet6 is one to choose where IPv6 is wanted.
	DefaultSubnet6 = "fd20:ec5::1/64"
	// TestLinks is the value of ECS_TEST_ENI_LINKS with which an agent takes these
	// interfaces for elastic ones.
	TestLinks = "veth:ecsx*"
)

// Options say what a VPC is made of.
type Options struct {
	// Name is the network namespace, as "ip netns" shows it. One that is there is used.
	Name string
	// Host is the path of the agent's network namespace; empty: the one of this process.
	Host string
	// Subnet is the gateway's address with the subnet's prefix length.
	Subnet netip.Prefix
	// Subnet6 is the same for IPv6, with the length 64; not valid: there is no IPv6.
	Subnet6 netip.Prefix
	// IPv6Only has interfaces without an IPv4 address.
	IPv6Only bool
	// Metadata answers on 169.254.169.254; nil: nobody does.
	Metadata http.Handler
	Log      *zap.Logger
}

var named = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// Check says what of the options cannot be.
func (o *Options) Check() error {
	if !named.MatchString(o.Name) {
		return fmt.Errorf("name of the VPC's namespace %q: want letters, digits, dots, dashes and underscores, at most 64", o.Name)
	}
	const smallest, largest = 28, 16
	p := o.Subnet
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() < largest || p.Bits() > smallest || p.Addr() == p.Masked().Addr() {
		return fmt.Errorf("subnet %q: want the gateway's IPv4 address with a prefix length of 16 to 28, such as %s", p, DefaultSubnet)
	}
	if p = o.Subnet6; p.IsValid() && (p.Addr().Is4() || p.Addr().Is4In6() || p.Bits() != 64 || p.Addr() == p.Masked().Addr()) {
		return fmt.Errorf("IPv6 subnet %q: want the gateway's IPv6 address with the prefix length 64, such as %s", p, DefaultSubnet6)
	}
	if o.IPv6Only && !p.IsValid() {
		return errors.New("interfaces without IPv4 need an IPv6 subnet")
	}
	return nil
}

// names are those of the two ends of an interface.
func names(mac net.HardwareAddr) (host, router string) {
	tail := mac[len(mac)-4:]
	return fmt.Sprintf("ecsx%x", []byte(tail)), fmt.Sprintf("v%x", []byte(tail))
}

func parseMAC(text string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(text)
	if err == nil && len(mac) != 6 {
		err = fmt.Errorf("it has %d bytes; want 6", len(mac))
	}
	if err != nil {
		return nil, fmt.Errorf("MAC address %q: %w", text, err)
	}
	return mac, nil
}
