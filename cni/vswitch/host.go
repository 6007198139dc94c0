package vswitch

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// What a Switch and Adapters say about the state of the host, as opposed to failures.
var (
	ErrNotFound = errors.New("not found")
	// ErrGone says that the container or namespace is not there.
	ErrGone = errors.New("the container is gone")
)

// Switch is the host networking service of Windows. An object that is not there is
// ErrNotFound.
type Switch interface {
	Version(ctx context.Context) (major, minor int, err error)
	Networks(ctx context.Context) ([]Network, error)
	NetworkByName(ctx context.Context, name string) (Network, error)
	CreateNetwork(ctx context.Context, n Network) (Network, error)
	DeleteNetwork(ctx context.Context, id string) error
	Endpoints(ctx context.Context) ([]Endpoint, error)
	EndpointByName(ctx context.Context, name string) (Endpoint, error)
	CreateEndpoint(ctx context.Context, e Endpoint) (Endpoint, error)
	DeleteEndpoint(ctx context.Context, id string) error
	// Attach puts an endpoint into a place, where it may be already.
	Attach(ctx context.Context, where Place, endpointID string) error
	// Detach takes it out. Nothing to take out, and no place to take it out of, is success.
	Detach(ctx context.Context, where Place, endpointID string) error
}

// Adapters are the network adapters of the host.
type Adapters interface {
	All(ctx context.Context) ([]Adapter, error)
	Disable(ctx context.Context, a Adapter) error
}

// Network is a network of HNS: a virtual switch.
type Network struct {
	ID, Name, Type string
	Adapter        string // its uplink
	Subnet         netip.Prefix
	Gateway        netip.Addr // invalid: none
}

// Transparent is the type of the networks of tasks: their addresses are those of the VPC.
const Transparent = "Transparent"

// Endpoint is an endpoint of HNS: an adapter inside a container.
type Endpoint struct {
	ID, Name, Network string
	MAC               net.HardwareAddr // nil: HNS chooses
	Address           netip.Prefix     // invalid: HNS chooses
	Gateway           netip.Addr       // as HNS says
	DNSServers        []string
	DNSSearch         []string
	Policies          []Policy
}

// Policy is an access rule of an endpoint, in HNS's own form.
type Policy struct {
	Type            string
	Action          string
	Direction       string
	RemoteAddresses string `json:",omitempty"`
	Protocol        int
	Priority        int
}

// anyProtocol in a Policy.
const anyProtocol = 256

// blockMetadata keeps a task from the host's instance metadata. An endpoint with any rule
// refuses what no rule allows, so there are rules for the rest (docs/spec/05 section 5.8).
func blockMetadata() []Policy {
	return []Policy{
		{Type: "ACL", Action: "Block", Direction: "Out", RemoteAddresses: "169.254.169.254/32", Protocol: anyProtocol, Priority: 200},
		{Type: "ACL", Action: "Allow", Direction: "In", Protocol: anyProtocol, Priority: 300},
		{Type: "ACL", Action: "Allow", Direction: "Out", Protocol: anyProtocol, Priority: 300},
	}
}

// Adapter is a network adapter of the host.
type Adapter struct {
	Index   int
	Name    string
	MAC     net.HardwareAddr
	Up      bool
	Gateway bool // it has a default gateway
}

// Place is where an endpoint is attached.
type Place struct {
	Container string // of Docker; empty for a namespace
	Namespace string // of HCN
}
