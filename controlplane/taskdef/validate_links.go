package taskdef

import (
	"fmt"
	"strconv"
	"strings"

	"ecsagent/controlplane/api"
)

func (p part) dependencies() {
	seen := map[string]bool{}
	for i, d := range p.cd.DependsOn {
		field := fmt.Sprintf("dependsOn[%d]", i)
		target := p.containers[d.ContainerName]
		switch {
		case d.ContainerName == p.cd.Name:
			p.bad(field+".containerName", "Container '%s' cannot depend on itself.", clip(p.cd.Name))
			continue
		case target == nil:
			p.bad(field+".containerName", "Container '%s' depends on unknown container '%s'.", clip(p.cd.Name), clip(d.ContainerName))
			continue
		case seen[d.ContainerName]:
			p.bad(field+".containerName", "Container '%s' depends on '%s' more than once.", clip(p.cd.Name), clip(d.ContainerName))
		}
		seen[d.ContainerName] = true
		switch d.Condition {
		case "START":
		case "HEALTHY":
			if target.HealthCheck == nil {
				p.bad(field+".condition", "Container '%s' must have a health check: container '%s' depends on it with condition HEALTHY.", clip(d.ContainerName), clip(p.cd.Name))
			}
		case "COMPLETE", "SUCCESS":
			if target.IsEssential() {
				p.bad(field+".condition", "Essential container '%s' cannot be depended on with condition %s.", clip(d.ContainerName), d.Condition)
			}
		default:
			p.bad(field+".condition", "Invalid value '%s'. Valid values: START, COMPLETE, SUCCESS, HEALTHY.", clip(d.Condition))
		}
	}
}

// cycles refuses containers that wait for each other, by whatever member.
func (c *checker) cycles() {
	const (
		visiting = 1
		done     = 2
	)
	mark := map[string]int{}
	var visit func(name string) bool
	visit = func(name string) bool {
		cd := c.containers[name]
		if cd == nil || mark[name] == done {
			return false
		}
		if mark[name] == visiting {
			return true
		}
		mark[name] = visiting
		for _, next := range waitsFor(cd) {
			if next != name && visit(next) {
				return true
			}
		}
		mark[name] = done
		return false
	}
	for i := range c.def.ContainerDefinitions {
		name := c.def.ContainerDefinitions[i].Name
		if visit(name) {
			c.bad(fmt.Sprintf("containerDefinitions[%d].dependsOn", i), "Container dependencies must not form a cycle: container '%s' waits for itself.", clip(name))
			return
		}
	}
}

func waitsFor(cd *api.ContainerDefinition) []string {
	var names []string
	for _, d := range cd.DependsOn {
		names = append(names, d.ContainerName)
	}
	for _, l := range cd.Links {
		name, _, _ := strings.Cut(l, ":")
		names = append(names, name)
	}
	for _, v := range cd.VolumesFrom {
		names = append(names, v.SourceContainer)
	}
	return names
}

func (p part) network() {
	cd, mode := p.cd, p.def.NetworkMode
	if len(cd.Links) > 0 && mode != "" && mode != api.NetworkBridge {
		p.bad("links", "Links are not supported when networkMode=%s.", clip(mode))
	}
	for i, l := range cd.Links {
		name, _, _ := strings.Cut(l, ":")
		switch field := fmt.Sprintf("links[%d]", i); {
		case name == cd.Name:
			p.bad(field, "Container '%s' cannot link to itself.", clip(name))
		case p.containers[name] == nil:
			p.bad(field, "Container '%s' links to unknown container '%s'.", clip(cd.Name), clip(name))
		}
	}
	if cd.Hostname != "" && (mode == api.NetworkVPC || mode == api.NetworkHost) {
		p.bad("hostname", "hostname is not supported when networkMode=%s.", mode)
	}
	if mode == api.NetworkVPC {
		p.notInVPC("dnsServers", len(cd.DNSServers))
		p.notInVPC("dnsSearchDomains", len(cd.DNSSearchDomains))
		p.notInVPC("extraHosts", len(cd.ExtraHosts))
	}
}

func (p part) notInVPC(field string, n int) {
	if n > 0 {
		p.bad(field, "%s is not supported when networkMode=awsvpc.", field)
	}
}

func (p part) ports() {
	if len(p.cd.PortMappings) > 100 {
		p.bad("portMappings", "A container can have at most 100 port mappings.")
	}
	if p.def.NetworkMode == api.NetworkNone && len(p.cd.PortMappings) > 0 {
		p.bad("portMappings", "Port mappings are not supported when networkMode=none.")
	}
	var taken []portRange
	for i := range p.cd.PortMappings {
		field := fmt.Sprintf("portMappings[%d]", i)
		r, ok := p.port(field, &p.cd.PortMappings[i])
		if !ok {
			continue
		}
		for _, t := range taken {
			if r.isRange || t.isRange {
				if r.protocol == t.protocol && r.first <= t.last && t.first <= r.last {
					p.bad(field, "A port can only be included in one port mapping per container: %d-%d overlaps %d-%d.", r.first, r.last, t.first, t.last)
				}
			}
		}
		taken = append(taken, r)
	}
}

type portRange struct {
	first, last int
	protocol    string
	isRange     bool
}

func (p part) port(field string, m *api.PortMapping) (portRange, bool) {
	p.oneOf(field+".protocol", m.Protocol, "tcp", "udp")
	p.oneOf(field+".appProtocol", m.AppProtocol, "http", "http2", "grpc")
	protocol := m.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	if m.ContainerPortRange != "" {
		first, last, ok := ParsePortRange(m.ContainerPortRange)
		switch {
		case !ok:
			p.bad(field+".containerPortRange", "Invalid port range '%s'.", clip(m.ContainerPortRange))
		case m.ContainerPort != 0:
			p.bad(field, "containerPort and containerPortRange cannot be given together.")
		case m.HostPort != nil && *m.HostPort != 0:
			p.bad(field+".hostPort", "hostPort cannot be given together with containerPortRange.")
		case p.def.NetworkMode == api.NetworkHost:
			p.bad(field+".containerPortRange", "containerPortRange is not supported when networkMode=host.")
		}
		return portRange{first, last, protocol, true}, ok
	}
	if m.ContainerPort < 1 || m.ContainerPort > 65535 {
		p.bad(field+".containerPort", "Invalid container port %d: it must be between 1 and 65535.", m.ContainerPort)
		return portRange{}, false
	}
	p.between(field+".hostPort", m.HostPort, 0, 65535)
	if mode := p.def.NetworkMode; (mode == api.NetworkHost || mode == api.NetworkVPC) &&
		m.HostPort != nil && *m.HostPort != 0 && *m.HostPort != m.ContainerPort {
		p.bad(field+".hostPort", "When networkMode=%s, the host ports and container ports in port mappings must match.", mode)
	}
	return portRange{m.ContainerPort, m.ContainerPort, protocol, false}, true
}

// ParsePortRange reads "8000-8010".
func ParsePortRange(s string) (first, last int, ok bool) {
	a, b, found := strings.Cut(s, "-")
	first, errA := strconv.Atoi(a)
	last, errB := strconv.Atoi(b)
	return first, last, found && errA == nil && errB == nil && first >= 1 && first < last && last <= 65535
}

// hostPorts refuses two mappings that ask for the same port of the host.
func (c *checker) hostPorts() {
	type key struct {
		port     int
		protocol string
	}
	seen := map[key]bool{}
	names := map[string]bool{}
	for i := range c.def.ContainerDefinitions {
		for j, m := range c.def.ContainerDefinitions[i].PortMappings {
			field := fmt.Sprintf("containerDefinitions[%d].portMappings[%d]", i, j)
			completePort(&m, c.def.NetworkMode)
			if m.HostPort != nil && *m.HostPort != 0 {
				k := key{*m.HostPort, m.Protocol}
				if seen[k] {
					c.bad(field+".hostPort", "Host port %d/%s is used by more than one port mapping.", k.port, k.protocol)
				}
				seen[k] = true
			}
			if m.Name != "" && names[m.Name] {
				c.bad(field+".name", "Port mapping names must be unique: '%s' is used more than once.", clip(m.Name))
			}
			names[m.Name] = true
		}
	}
}
