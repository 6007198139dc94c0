package dockerspec

import (
	"strconv"

	"github.com/docker/go-connections/nat"

	"ecsagent/agent/hostport"
	"ecsagent/agent/task"
)

// eachPort calls fn for every container port, with the host port that goes with
// it; 0 when none was chosen yet (docs/spec/02 section 4.6).
func (b *build) eachPort(fn func(port nat.Port, host uint16)) error {
	for i, p := range b.spec.Published(b.i) {
		var chosen uint16
		if i < len(b.cs.HostPorts) {
			chosen = b.cs.HostPorts[i]
		}
		span := hostport.Range{First: p.ContainerPort, Last: p.ContainerPort}
		if p.Range != "" {
			var err error
			if span, err = hostport.ParseRange(p.Range); err != nil {
				return failure(nameHostConfig, "error retrieving docker port map: %s", err)
			}
		} else if p.HostPort != 0 {
			chosen = p.HostPort
		}
		protocol := p.Protocol
		if protocol == "" {
			protocol = task.TCP
		}
		for n := range span.Size() {
			var host uint16
			if chosen != 0 {
				host = chosen + uint16(n)
			}
			fn(nat.Port(strconv.Itoa(int(span.First)+n)+"/"+string(protocol)), host)
		}
	}
	return nil
}

// exposedPorts is nil when there are none.
func (b *build) exposedPorts() (nat.PortSet, error) {
	var set nat.PortSet
	err := b.eachPort(func(port nat.Port, _ uint16) {
		if set == nil {
			set = nat.PortSet{}
		}
		set[port] = struct{}{}
	})
	if c := b.spec.Connect; c != nil && c.Egress != nil && b.spec.ConnectsBridged() && b.c.Name == task.ConnectPauseName(c.Container) {
		if set == nil {
			set = nat.PortSet{}
		}
		set[nat.Port(strconv.Itoa(int(c.Egress.Port))+"/"+string(task.TCP))] = struct{}{} // never bound
	}
	return set, err
}

// portBindings binds on Docker's default address. A port for which none was
// chosen is left to Docker.
func (b *build) portBindings() (nat.PortMap, error) {
	bindings := nat.PortMap{}
	err := b.eachPort(func(port nat.Port, host uint16) {
		bindings[port] = append(bindings[port], nat.PortBinding{HostPort: strconv.Itoa(int(host))})
	})
	return bindings, err
}
