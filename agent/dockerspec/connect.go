package dockerspec

import (
	"encoding/json"
	"slices"

	"ecsagent/agent/task"
)

// connect tells the Service Connect proxy of a task in mode bridge at which addresses its
// containers are (docs/spec/05 section 6.4).
func (b *build) connect() error {
	if !b.spec.ConnectsBridged() || b.c.Name != b.spec.Connect.Container {
		return nil
	}
	all := make(map[string]string)
	for i := range b.spec.Containers {
		c := &b.spec.Containers[i]
		if c.Internal() {
			continue
		}
		v4, v6 := BridgeAddresses(b.st.Containers[b.networkOf(i)].Networks)
		address := v4
		if b.env.IPv6Only {
			address = v6
		}
		if address == "" {
			return failure(nameCreate, "Service Connect: container %s has no address on Docker's network bridge that its proxy could use", c.Name)
		}
		all[c.Name] = address
	}
	text, err := json.Marshal(all)
	b.pauses = string(text)
	return err
}

// networkOf is the position of the container that has container i's place in Docker's
// networks: its own, or that of its pause container.
func (b *build) networkOf(i int) int {
	if b.spec.ConnectsBridged() {
		if pause := b.spec.NetworkOf(i); pause >= 0 {
			return pause
		}
	}
	return i
}

// BridgeAddresses are a container's in Docker's own network; each is empty when it has
// none.
func BridgeAddresses(networks []task.Network) (v4, v6 string) {
	if i := slices.IndexFunc(networks, func(n task.Network) bool { return n.Name == "bridge" }); i >= 0 {
		return networks[i].IPv4, networks[i].IPv6
	}
	return "", ""
}
