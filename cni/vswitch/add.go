package vswitch

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"ecsagent/cni/plugin"
)

// release is a version of HNS, and the first Windows that has it.
type release struct {
	major, minor int
	windows      string
}

// The oldest that can do it, and the oldest that has HCN, whose namespaces are.
var (
	oldest        = release{7, 2, "Windows Server 1803"}
	oldestWithHCN = release{9, 2, "Windows Server 2019"}
)

// Host is what is worked with.
type Host struct {
	Switch   Switch
	Adapters Adapters
}

// Add gives a container its endpoint, and makes the network if the container is the one
// that owns it. When it fails, what it made stays for the next attempt, or for Del.
func (h Host) Add(ctx context.Context, c Config, t Target) (Endpoint, error) {
	want, what := oldest, "networks of tasks"
	if t.where.Namespace != "" {
		want, what = oldestWithHCN, "namespaces of HCN"
	}
	if err := h.checkVersion(ctx, want, what); err != nil {
		return Endpoint{}, err
	}
	name := c.endpoint(t)
	e, err := h.Switch.EndpointByName(ctx, name)
	there := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Endpoint{}, fmt.Errorf("find endpoint %s: %w", name, err)
	}
	if t.shared {
		if !there {
			return Endpoint{}, fmt.Errorf("failed to find endpoint %s: the task's network is not set up, or torn down", name)
		}
		return e, h.attach(ctx, t, e)
	}
	if err := h.ensureNetwork(ctx, c, there); err != nil {
		return Endpoint{}, err
	}
	if there {
		// An earlier call may have ended before this.
		return e, h.attach(ctx, t, e)
	}
	made := Endpoint{Name: name, Network: c.network(), MAC: c.mac, Address: c.address, DNSServers: c.servers, DNSSearch: c.search}
	if c.block {
		made.Policies = blockMetadata()
	}
	if e, err = h.Switch.CreateEndpoint(ctx, made); err != nil {
		return Endpoint{}, fmt.Errorf("create endpoint %s: %w", name, err)
	}
	if err := h.attach(ctx, t, e); err != nil {
		if undo := h.Switch.DeleteEndpoint(ctx, e.ID); undo != nil && !errors.Is(undo, ErrNotFound) {
			err = errors.Join(err, fmt.Errorf("delete endpoint %s again: %w", name, undo))
		}
		return Endpoint{}, err
	}
	return e, nil
}

func (h Host) checkVersion(ctx context.Context, want release, what string) error {
	major, minor, err := h.Switch.Version(ctx)
	if err != nil {
		return fmt.Errorf("ask HNS for its version: %w", err)
	}
	if major < want.major || major == want.major && minor < want.minor {
		return types.NewError(types.ErrPluginNotAvailable,
			fmt.Sprintf("HNS is older than the minimum supported version for %s: it is %d.%d, want %d.%d (%s)", what, major, minor, want.major, want.minor, want.windows), "")
	}
	return nil
}

func (h Host) attach(ctx context.Context, t Target, e Endpoint) error {
	if err := h.Switch.Attach(ctx, t.where, e.ID); err != nil {
		return fmt.Errorf("attach endpoint %s: %w", e.Name, err)
	}
	return nil
}

// ensureNetwork makes the network that an endpoint needs. used says that the endpoint is
// there, so that the network is too and was made as a whole.
func (h Host) ensureNetwork(ctx context.Context, c Config, used bool) error {
	name := c.network()
	n, err := h.Switch.NetworkByName(ctx, name)
	switch {
	case c.existing && errors.Is(err, ErrNotFound):
		return plugin.TryAgain("failed to find existing network %s", name)
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("find network %s: %w", name, err)
	case c.existing:
		return nil
	case err != nil:
		if n, err = h.createNetwork(ctx, c); err != nil {
			return err
		}
		used = false
	}
	return h.silence(ctx, c, n, used)
}

func (h Host) createNetwork(ctx context.Context, c Config) (Network, error) {
	all, err := h.Adapters.All(ctx)
	if err != nil {
		return Network{}, fmt.Errorf("list the network adapters: %w", err)
	}
	adapter, err := c.find(all)
	if err != nil {
		return Network{}, err
	}
	want := Network{Name: c.network(), Type: Transparent, Adapter: adapter.Name, Subnet: c.address.Masked(), Gateway: c.gateway}
	n, err := h.Switch.CreateNetwork(ctx, want)
	if err != nil {
		return Network{}, fmt.Errorf("create network %s on adapter %q: %w", want.Name, adapter.Name, err)
	}
	if n.Adapter == "" {
		n.Adapter = adapter.Name
	}
	return n, nil
}

// hostSide is how the names begin of adapters that the host has on virtual switches.
const hostSide = "vEthernet ("

// find looks for the interface by its address: Windows may rename adapters at any time. A
// switch takes the adapter from the host, so it must not be the one that the host needs.
func (c Config) find(all []Adapter) (Adapter, error) {
	var found *Adapter
	for i := range all {
		a := &all[i]
		if a.MAC.String() != c.mac.String() || strings.HasPrefix(a.Name, hostSide) {
			continue
		}
		if a.Name == c.adapter {
			found = a
			break
		}
		if found == nil || len(a.Name) < len(found.Name) {
			found = a
		}
	}
	if found == nil {
		return Adapter{}, plugin.TryAgain("no network adapter has the MAC address %s: the interface is not attached, or Windows has not found it yet", c.mac)
	}
	for i := range all {
		if a := &all[i]; a.Index != found.Index && a.Up && a.Gateway {
			return *found, nil
		}
	}
	return Adapter{}, fmt.Errorf("adapter %q with the MAC address %s is the only one with a default gateway: the host would be cut off", found.Name, c.mac)
}

// silence disables the adapter that the host has on a task's switch: it would take the
// task's address. On a network that was just made it has to be there.
func (h Host) silence(ctx context.Context, c Config, n Network, used bool) error {
	err := h.disable(ctx, c, n, used)
	if err == nil || used {
		return err
	}
	// A switch with a host side that speaks is worse than none.
	if undo := h.Switch.DeleteNetwork(ctx, n.ID); undo != nil && !errors.Is(undo, ErrNotFound) {
		err = errors.Join(err, fmt.Errorf("delete network %s again: %w", n.Name, undo))
	}
	return err
}

func (h Host) disable(ctx context.Context, c Config, n Network, used bool) error {
	all, err := h.Adapters.All(ctx)
	if err != nil {
		return fmt.Errorf("list the network adapters: %w", err)
	}
	name, found := hostSide+n.Adapter+")", false
	for _, a := range all {
		// It has the interface's address, also when the interface was renamed since.
		if a.Name != name && (a.MAC.String() != c.mac.String() || !strings.HasPrefix(a.Name, hostSide)) {
			continue
		}
		found = true
		if !a.Up {
			continue
		}
		if err := h.Adapters.Disable(ctx, a); err != nil {
			return fmt.Errorf("disable adapter %q: %w", a.Name, err)
		}
	}
	if !found && !used {
		return plugin.TryAgain("the host has no adapter %q on the task's switch", name)
	}
	return nil
}
