package vswitch

import (
	"context"
	"errors"
	"fmt"
)

// Del takes a container's endpoint away. The container that owns the network takes
// endpoint and network with it; one that shares them leaves them alone.
func (h Host) Del(ctx context.Context, c Config, t Target) error {
	name := c.endpoint(t)
	e, err := h.Switch.EndpointByName(ctx, name)
	switch {
	case err == nil:
		if err := h.Switch.Detach(ctx, t.where, e.ID); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrGone) {
			return fmt.Errorf("detach endpoint %s: %w", name, err)
		}
		if t.shared {
			return nil
		}
		if err := h.Switch.DeleteEndpoint(ctx, e.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("delete endpoint %s: %w", name, err)
		}
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("find endpoint %s: %w", name, err)
	}
	if t.shared || c.existing {
		return nil
	}
	n, err := h.Switch.NetworkByName(ctx, c.network())
	if err == nil {
		err = h.Switch.DeleteNetwork(ctx, n.ID)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete network %s: %w", c.network(), err)
	}
	return nil
}
