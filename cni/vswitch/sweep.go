package vswitch

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ecsagent/cni/plugin"
)

// Sweep deletes what tasks have left on a network: endpoints whose owner is none of keep,
// and networks of tasks without an endpoint that stays (docs/spec/05 section 5.10). It goes
// on after a failure and returns all of them. Nobody may be adding meanwhile.
func (h Host) Sweep(ctx context.Context, c Config, keep []string) error {
	if err := h.checkVersion(ctx, oldest, "networks of tasks"); err != nil {
		return err
	}
	endpoints, err := h.Switch.Endpoints(ctx)
	if err != nil {
		return fmt.Errorf("list the endpoints: %w", err)
	}
	networks, err := h.Switch.Networks(ctx)
	if err != nil {
		return fmt.Errorf("list the networks: %w", err)
	}
	var failed []error
	used := make(map[string]bool)
	for _, e := range endpoints {
		network, owner, ok := strings.Cut(e.Name, "-ep-")
		if !ok || owner == "" || !c.owns(network) {
			continue
		}
		if slices.Contains(keep, owner) {
			used[network] = true
			continue
		}
		if err := h.Switch.DeleteEndpoint(ctx, e.ID); err != nil && !errors.Is(err, ErrNotFound) {
			used[network] = true
			failed = append(failed, fmt.Errorf("delete endpoint %s: %w", e.Name, err))
		}
	}
	for _, n := range networks {
		if c.existing || !c.owns(n.Name) || used[n.Name] {
			continue
		}
		if err := h.Switch.DeleteNetwork(ctx, n.ID); err != nil && !errors.Is(err, ErrNotFound) {
			failed = append(failed, fmt.Errorf("delete network %s: %w", n.Name, err))
		}
	}
	return errors.Join(failed...)
}

// address is how the names of networks of tasks end: with that of their interface.
var address = regexp.MustCompile(`^br[0-9a-f]{12}$`)

// owns reports whether a network is one that a configuration of this name is for.
func (c Config) owns(network string) bool {
	rest, ok := strings.CutPrefix(network, c.name)
	return ok && (c.existing && rest == "" || !c.existing && address.MatchString(rest))
}

// Status says why tasks cannot have the network of a configuration here.
func (h Host) Status(ctx context.Context, c Config) error {
	if err := h.checkVersion(ctx, oldest, "networks of tasks"); err != nil || !c.existing {
		return err
	}
	_, err := h.Switch.NetworkByName(ctx, c.name)
	if errors.Is(err, ErrNotFound) {
		return plugin.TryAgain("failed to find existing network %s", c.name)
	}
	return err
}
