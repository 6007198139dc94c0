package task

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ConnectPauseName is the pause container that holds the network of a container of a task
// with Service Connect in network mode bridge.
func ConnectPauseName(container string) string { return NetworkPauseName + "-" + container }

// addConnectPauses gives each container of a task with Service Connect in mode bridge a
// pause container on Docker's bridge, whose network it joins (docs/spec/05 section 6.7):
//
//	pause of the proxy ──▶ the others' pauses ──▶ proxy ──healthy──▶ the others
//
// They start together; the others' networks lead to the proxy's address and so wait for
// its pause. All of them outlast the proxy.
func (in Intake) addConnectPauses(s *Spec) error {
	ofProxy := ConnectPauseName(s.Connect.Container)
	if s.Index(ofProxy) >= 0 {
		return nil // accepted before
	}
	if in.Pause.Image == "" {
		return errors.New("Service Connect in network mode bridge needs the pause image, which is not loaded on this container instance") //nolint:staticcheck // a name
	}
	proxy := s.Index(s.Connect.Container)
	var pauses []Container
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Internal() {
			continue
		}
		pause := in.kept(Container{Name: ConnectPauseName(c.Name), Type: CNIPause, Image: cmp.Or(in.Pause.Custom, in.Pause.Image)})
		if err := pause.namesOf(c); err != nil {
			return err
		}
		if i == proxy {
			pause.Ports = s.Connect.published()
		} else {
			pause.Ports = slices.Clone(c.Ports)
			pause.DependsOn = []Dependency{{Container: ofProxy, Condition: DependsStart}}
			c.DependsOn = addEdge(slices.Clone(c.DependsOn), pause.Name, DependsStart)
		}
		p := &s.Containers[proxy]
		p.DependsOn = addEdge(slices.Clone(p.DependsOn), pause.Name, DependsStart)
		pauses = append(pauses, pause)
	}
	s.Containers = append(s.Containers, pauses...)
	return nil
}

// published are the ports on which the proxy takes connections from outside.
func (c *Connect) published() (ports []PortMapping) {
	for _, l := range c.Ingress {
		ports = append(ports, PortMapping{ContainerPort: l.Port, HostPort: l.Host, Protocol: TCP})
	}
	return ports
}

// namesOf gives a pause container the host name, hosts and resolvers of the container that
// joins it: Docker has them for the network, and refuses them of one that joins.
func (c *Container) namesOf(joins *Container) error {
	config, err := only(joins.DockerConfig, "Hostname", "Domainname")
	if err != nil {
		return fmt.Errorf("docker config of container %s: %w", joins.Name, err)
	}
	host, err := only(joins.DockerHostConfig, "Dns", "DnsOptions", "DnsSearch", "ExtraHosts")
	if err != nil {
		return fmt.Errorf("docker host config of container %s: %w", joins.Name, err)
	}
	c.DockerConfig, c.DockerHostConfig = config, host
	return nil
}

// only is a JSON object with nothing but some of its members; empty when it has none.
func only(object string, members ...string) (string, error) {
	if object == "" {
		return "", nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &all); err != nil {
		return "", err
	}
	some := make(map[string]json.RawMessage)
	for _, name := range members {
		if value, ok := all[name]; ok {
			some[name] = value
		}
	}
	if len(some) == 0 {
		return "", nil
	}
	text, err := json.Marshal(some)
	return string(text), err
}
