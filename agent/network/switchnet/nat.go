package switchnet

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"ecsagent/agent/runtime"
)

// routeLimit bounds the command that gives a container its route.
const routeLimit = 20 * time.Second

// RouteToAgent gives a container on Docker's network nat the route to 169.254.170.2, by the
// host: what images have to do for themselves with the official agent (docs/spec/05 section
// 5.11). Not every image has the program for it.
func RouteToAgent(ctx context.Context, in Containers, id string, nat runtime.Network) error {
	gateway, err := netip.ParseAddr(nat.Gateway)
	if err != nil || !gateway.Is4() {
		return fmt.Errorf("the container's gateway in the network nat is %q", nat.Gateway)
	}
	ctx, cancel := context.WithTimeout(ctx, routeLimit)
	defer cancel()
	out, err := in.RunIn(ctx, id, runtime.Command{User: administrator, Args: routeCommand(gateway)})
	if err == nil && out.ExitCode != 0 {
		err = fmt.Errorf("%q ended with %d: %s", routeCommand(gateway), out.ExitCode, short(out.Output))
	}
	return err
}

func routeCommand(gateway netip.Addr) []string {
	return []string{"route", "ADD", credentials.Addr().String(), "MASK", "255.255.255.255", gateway.String()}
}
