//go:build !linux

package vpc

import (
	"context"
	"errors"
	"net/netip"

	"ecsagent/controlplane/wire"
)

var errUnsupported = errors.New("a VPC on this machine needs Linux")

// VPC cannot be made here.
type VPC struct{}

// Open returns an error.
func Open(context.Context, Options) (*VPC, error) { return nil, errUnsupported }

// Subnet implements service.VPC.
func (*VPC) Subnet() netip.Prefix { return netip.Prefix{} }

// Subnet6 implements service.VPC.
func (*VPC) Subnet6() netip.Prefix { return netip.Prefix{} }

// IPv6Only implements service.VPC.
func (*VPC) IPv6Only() bool { return false }

// Attach implements service.VPC.
func (*VPC) Attach(wire.NetworkInterface) error { return errUnsupported }

// Detach implements service.VPC.
func (*VPC) Detach(string) error { return errUnsupported }

// Keep does nothing.
func (*VPC) Keep([]string) error { return errUnsupported }

// Close does nothing.
func (*VPC) Close() error { return nil }
