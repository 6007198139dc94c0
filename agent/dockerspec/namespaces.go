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
	switch {
	case b.c.Type == task.CNIPause && b.spec.ConnectsBridged():
		b.host.NetworkMode = "bridge"
	case b.c.Internal():
		b.host.NetworkMode = "none"
	default:
		if err := b.networkMode(); err != nil {
			return err
		}
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
	switch mode := b.spec.NetworkMode; {
	case mode == "awsvpc", b.spec.ConnectsBridged():
		pause, err := b.joined(b.spec.NetworkOf(b.i), "network")
		if err != nil {
			return err
		}
		b.host.NetworkMode = container.NetworkMode(pause)
	case mode == "host", mode == "none":
		if b.host.NetworkMode == "" {
			b.host.NetworkMode = container.NetworkMode(mode)
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
		pause, err := b.joined(b.namespacePause(), "PID")
		if err != nil {
			return err
		}
		b.host.PidMode = container.PidMode(pause)
	}
	switch {
	case (b.spec.IPCMode == "host" || b.spec.IPCMode == "none") && normal:
		b.host.IpcMode = container.IpcMode(b.spec.IPCMode)
	case b.spec.IPCMode == "task" && normal:
		pause, err := b.joined(b.namespacePause(), "IPC")
		if err != nil {
			return err
		}
		b.host.IpcMode = container.IpcMode(pause)
	case b.spec.IPCMode == "task" && b.c.Type == task.NamespacePause:
		b.host.IpcMode = container.IPCModeShareable
	}
	return nil
}

// namespacePause is the position of the container that holds the task's PID and IPC
// namespaces, or -1.
func (b *build) namespacePause() int {
	return slices.IndexFunc(b.spec.Containers, func(c task.Container) bool { return c.Type == task.NamespacePause })
}

// joined is the mode that shares a namespace with a pause container.
func (b *build) joined(pause int, namespace string) (string, error) {
	if pause >= 0 && b.st.Containers[pause].RuntimeID != "" {
		return "container:" + b.st.Containers[pause].RuntimeID, nil
	}
	return "", failure(nameHostConfig, "no pause container holds the task's %s namespace", namespace)
}

// pauseConfig gives the network's pause container the names of its interface: the
// task's other containers share them.
func (b *build) pauseConfig() {
	if b.c.Type == task.CNIPause && b.spec.ConnectsBridged() {
		for _, n := range b.spec.Connect.Names {
			b.host.ExtraHosts = append(b.host.ExtraHosts, n.Host+":"+n.Address)
		}
		return
	}
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
