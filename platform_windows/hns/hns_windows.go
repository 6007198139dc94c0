package hns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/Microsoft/hcsshim"
	"github.com/Microsoft/hcsshim/hcn"

	"ecsagent/cni/vswitch"
)

// Service is the host networking service. Its calls cannot be broken off; a context that
// has ended keeps the next one from being made.
type Service struct{}

var _ vswitch.Switch = Service{}

// Version implements vswitch.Switch.
func (Service) Version(ctx context.Context) (major, minor int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	globals, err := hcsshim.GetHNSGlobals()
	if err != nil {
		return 0, 0, err
	}
	return globals.Version.Major, globals.Version.Minor, nil
}

// Networks implements vswitch.Switch.
func (Service) Networks(ctx context.Context) ([]vswitch.Network, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := hcsshim.HNSListNetworkRequest("GET", "", "")
	if err != nil {
		return nil, err
	}
	all := make([]vswitch.Network, len(list))
	for i := range list { // those of others may be of any shape
		all[i] = vswitch.Network{ID: list[i].Id, Name: list[i].Name, Type: list[i].Type, Adapter: list[i].NetworkAdapterName}
	}
	return all, nil
}

// Endpoints implements vswitch.Switch.
func (Service) Endpoints(ctx context.Context) ([]vswitch.Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := hcsshim.HNSListEndpointRequest()
	if err != nil {
		return nil, err
	}
	all := make([]vswitch.Endpoint, len(list))
	for i := range list {
		all[i] = vswitch.Endpoint{ID: list[i].Id, Name: list[i].Name, Network: list[i].VirtualNetworkName}
	}
	return all, nil
}

// NetworkByName implements vswitch.Switch.
func (Service) NetworkByName(ctx context.Context, name string) (vswitch.Network, error) {
	if err := ctx.Err(); err != nil {
		return vswitch.Network{}, err
	}
	n, err := hcsshim.GetHNSNetworkByName(name)
	if hcsshim.IsNotExist(err) {
		return vswitch.Network{}, vswitch.ErrNotFound
	}
	if err != nil {
		return vswitch.Network{}, err
	}
	return network(n)
}

// CreateNetwork implements vswitch.Switch.
func (Service) CreateNetwork(ctx context.Context, n vswitch.Network) (vswitch.Network, error) {
	if err := ctx.Err(); err != nil {
		return vswitch.Network{}, err
	}
	subnet := hcsshim.Subnet{AddressPrefix: n.Subnet.String()}
	if n.Gateway.IsValid() {
		subnet.GatewayAddress = n.Gateway.String()
	}
	want := hcsshim.HNSNetwork{Name: n.Name, Type: n.Type, NetworkAdapterName: n.Adapter, Subnets: []hcsshim.Subnet{subnet}}
	created, err := want.Create()
	if err != nil {
		return vswitch.Network{}, err
	}
	return network(created)
}

func network(n *hcsshim.HNSNetwork) (vswitch.Network, error) {
	out := vswitch.Network{ID: n.Id, Name: n.Name, Type: n.Type, Adapter: n.NetworkAdapterName}
	if len(n.Subnets) == 0 {
		return out, nil
	}
	var err error
	if text := n.Subnets[0].AddressPrefix; text != "" {
		if out.Subnet, err = netip.ParsePrefix(text); err != nil {
			return out, fmt.Errorf("HNS says of network %s: %w", n.Name, err)
		}
	}
	if text := n.Subnets[0].GatewayAddress; text != "" {
		if out.Gateway, err = netip.ParseAddr(text); err != nil {
			return out, fmt.Errorf("HNS says of network %s: %w", n.Name, err)
		}
	}
	return out, nil
}

// DeleteNetwork implements vswitch.Switch.
func (Service) DeleteNetwork(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := hcsshim.HNSNetworkRequest("DELETE", id, "")
	if err == nil {
		return nil
	}
	// What HNS says is in the host's language. The list is not.
	all, e := hcsshim.HNSListNetworkRequest("GET", "", "")
	if e == nil && !slices.ContainsFunc(all, func(n hcsshim.HNSNetwork) bool { return strings.EqualFold(n.Id, id) }) {
		return vswitch.ErrNotFound
	}
	return err
}

// EndpointByName implements vswitch.Switch.
func (Service) EndpointByName(ctx context.Context, name string) (vswitch.Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return vswitch.Endpoint{}, err
	}
	e, err := hcsshim.GetHNSEndpointByName(name)
	if hcsshim.IsNotExist(err) {
		return vswitch.Endpoint{}, vswitch.ErrNotFound
	}
	if err != nil {
		return vswitch.Endpoint{}, err
	}
	return endpoint(e)
}

// CreateEndpoint implements vswitch.Switch.
func (Service) CreateEndpoint(ctx context.Context, e vswitch.Endpoint) (vswitch.Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return vswitch.Endpoint{}, err
	}
	want := hcsshim.HNSEndpoint{
		Name: e.Name, VirtualNetworkName: e.Network, MacAddress: e.MAC.String(),
		DNSServerList: strings.Join(e.DNSServers, ","), DNSSuffix: strings.Join(e.DNSSearch, ","),
	}
	if e.Address.IsValid() {
		want.IPAddress, want.PrefixLength = e.Address.Addr().AsSlice(), uint8(e.Address.Bits())
	}
	for _, p := range e.Policies {
		raw, err := json.Marshal(p)
		if err != nil {
			return vswitch.Endpoint{}, err
		}
		want.Policies = append(want.Policies, raw)
	}
	created, err := want.Create()
	if err != nil {
		return vswitch.Endpoint{}, err
	}
	return endpoint(created)
}

func endpoint(e *hcsshim.HNSEndpoint) (vswitch.Endpoint, error) {
	out := vswitch.Endpoint{ID: e.Id, Name: e.Name, Network: e.VirtualNetworkName}
	if e.DNSServerList != "" {
		out.DNSServers = strings.Split(e.DNSServerList, ",")
	}
	if e.DNSSuffix != "" {
		out.DNSSearch = strings.Split(e.DNSSuffix, ",")
	}
	var err error
	if e.MacAddress != "" {
		if out.MAC, err = net.ParseMAC(e.MacAddress); err != nil {
			return out, fmt.Errorf("HNS says of endpoint %s: %w", e.Name, err)
		}
	}
	if ip, ok := netip.AddrFromSlice(e.IPAddress); ok {
		out.Address = netip.PrefixFrom(ip.Unmap(), int(e.PrefixLength))
	}
	if e.GatewayAddress != "" {
		if out.Gateway, err = netip.ParseAddr(e.GatewayAddress); err != nil {
			return out, fmt.Errorf("HNS says of endpoint %s: %w", e.Name, err)
		}
	}
	return out, nil
}

// DeleteEndpoint implements vswitch.Switch.
func (Service) DeleteEndpoint(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := hcsshim.HNSEndpointRequest("DELETE", id, "")
	if err == nil {
		return nil
	}
	if there, e := endpointThere(id); e == nil && !there {
		return vswitch.ErrNotFound
	}
	return err
}

func endpointThere(id string) (bool, error) {
	all, err := hcsshim.HNSListEndpointRequest()
	return slices.ContainsFunc(all, func(e hcsshim.HNSEndpoint) bool { return strings.EqualFold(e.Id, id) }), err
}

// Attach implements vswitch.Switch.
func (Service) Attach(ctx context.Context, where vswitch.Place, endpointID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if where.Namespace == "" {
		return gone(hcsshim.HotAttachEndpoint(where.Container, endpointID))
	}
	ids, err := hcn.GetNamespaceEndpointIds(where.Namespace)
	if hcn.IsNotFoundError(err) {
		return vswitch.ErrGone
	}
	if err != nil || slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, endpointID) }) {
		return err
	}
	return hcn.AddNamespaceEndpoint(where.Namespace, endpointID)
}

// Detach implements vswitch.Switch.
func (Service) Detach(ctx context.Context, where vswitch.Place, endpointID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if where.Namespace == "" {
		err := gone(hcsshim.HotDetachEndpoint(where.Container, endpointID))
		if err == nil || errors.Is(err, vswitch.ErrGone) {
			return nil
		}
		if there, e := endpointThere(endpointID); e == nil && !there {
			return nil
		}
		return err
	}
	ids, err := hcn.GetNamespaceEndpointIds(where.Namespace)
	if hcn.IsNotFoundError(err) {
		return nil
	}
	if err != nil || !slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, endpointID) }) {
		return err
	}
	return hcn.RemoveNamespaceEndpoint(where.Namespace, endpointID)
}

// gone names the error for a container that is not there.
func gone(err error) error {
	if errors.Is(err, hcsshim.ErrComputeSystemDoesNotExist) {
		return vswitch.ErrGone
	}
	return err
}
