package dockerspec

import (
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"ecsagent/agent/task"
)

// namespaces sets the network, PID and IPC modes (docs/spec/02 section 4.7).
func (b *build) namespaces() error {
	if b.c.Internal() {
		b.host.NetworkMode = "none"
	} else if err := b.networkMode(); err != nil {
		return err
	}
	if b.windows() {
		if b.host.NetworkMode == "bridge" {
			b.host.NetworkMode = "nat"
		}
		return nil
	}
	return b.processModes()
}

// networkMode joins the task's own network, or else leaves the mode as ECS
// rendered it. ECS renders it always; for a task that came without, its own counts.
func (b *build) networkMode() error {
	switch b.spec.NetworkMode {
	case "awsvpc":
		pause, err := b.joined(task.CNIPause, "network")
		if err != nil {
			return err
		}
		b.host.NetworkMode = container.NetworkMode(pause)
	case "host", "none":
		if b.host.NetworkMode == "" {
			b.host.NetworkMode = container.NetworkMode(b.spec.NetworkMode)
		}
	}
	return nil
}

// joinedNetwork takes out what Docker refuses of a container that joins the network of
// another: its names, resolvers and ports are the other's (docs/spec/05 section 1.5).
func (b *build) joinedNetwork() error {
	if !b.host.NetworkMode.IsContainer() {
		return nil
	}
	b.cfg.Hostname, b.cfg.Domainname, b.cfg.ExposedPorts = "", "", nil
	b.host.ExtraHosts, b.host.Links, b.host.PortBindings, b.host.PublishAllPorts = nil, nil, nat.PortMap{}, false
	b.host.DNS, b.host.DNSOptions, b.host.DNSSearch = nil, nil, nil
	return nil
}

func (b *build) processModes() error {
	normal := !b.c.Internal()
	switch {
	case b.spec.PIDMode == "host" && normal:
		b.host.PidMode = "host"
	case b.spec.PIDMode == "task" && normal:
		pause, err := b.joined(task.NamespacePause, "PID")
		if err != nil {
			return err
		}
		b.host.PidMode = container.PidMode(pause)
	}
	switch {
	case (b.spec.IPCMode == "host" || b.spec.IPCMode == "none") && normal:
		b.host.IpcMode = container.IpcMode(b.spec.IPCMode)
	case b.spec.IPCMode == "task" && normal:
		pause, err := b.joined(task.NamespacePause, "IPC")
		if err != nil {
			return err
		}
		b.host.IpcMode = container.IpcMode(pause)
	case b.spec.IPCMode == "task" && b.c.Type == task.NamespacePause:
		b.host.IpcMode = container.IPCModeShareable
	}
	return nil
}

// joined is the mode that shares a namespace with the task's pause container.
func (b *build) joined(pause task.ContainerType, namespace string) (string, error) {
	for i := range b.spec.Containers {
		if b.spec.Containers[i].Type == pause && b.st.Containers[i].RuntimeID != "" {
			return "container:" + b.st.Containers[i].RuntimeID, nil
		}
	}
	return "", failure(nameHostConfig, "no pause container holds the task's %s namespace", namespace)
}

// pauseConfig gives the network's pause container the names of its interface: the
// task's other containers share them.
func (b *build) pauseConfig() {
	if b.c.Type != task.CNIPause || b.spec.NetworkMode != "awsvpc" || len(b.spec.ENIs) == 0 {
		return
	}
	eni := &b.spec.ENIs[0]
	b.cfg.Hostname = eni.PrivateDNSName
	addresses := eni.IPv4
	if len(addresses) == 0 {
		addresses = eni.IPv6
	}
	if eni.PrivateDNSName != "" {
		for _, a := range addresses {
			b.host.ExtraHosts = append(b.host.ExtraHosts, eni.PrivateDNSName+":"+a.Address)
		}
	}
	if c := b.spec.Connect; c != nil {
		for _, n := range c.Names {
			if !strings.Contains(n.Address, ":") && len(eni.IPv4) > 0 || strings.Contains(n.Address, ":") && len(eni.IPv6) > 0 {
				b.host.ExtraHosts = append(b.host.ExtraHosts, n.Host+":"+n.Address)
			}
		}
	}
	b.host.DNS = slices.Clone(eni.DomainNameServers)
	b.host.DNSSearch = slices.Clone(eni.DomainNames)
	if len(eni.IPv6) > 0 && !b.windows() {
		if b.host.Sysctls == nil {
			b.host.Sysctls = make(map[string]string)
		}
		b.host.Sysctls["net.ipv6.conf.all.disable_ipv6"] = "0"
	}
}
