package metadata

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ecsagent/agent/task"
)

// Versions of the endpoint. Two and three differ in who may ask and in networks.
type version int

const (
	v2 version = 2
	v3 version = 3
	v4 version = 4
)

// minShares is what Docker makes of fewer CPU shares.
const minShares = 2

func renderTaskV3(s *task.Snapshot, in *Instance, v version) taskV3 {
	body := taskV3{
		Cluster: in.Cluster, TaskARN: s.ARN, Family: s.Family, Revision: s.Version,
		DesiredStatus: s.State.Desired.String(), KnownStatus: s.State.Known.String(), Limits: taskLimits(s),
		PullStartedAt: moment(s.State.PullStartedAt), PullStoppedAt: moment(s.State.PullStoppedAt),
		ExecutionStoppedAt: moment(s.State.ExecutionStoppedAt), AvailabilityZone: in.Zone,
	}
	for i := range s.State.Containers {
		if s.State.Containers[i].RuntimeID != "" {
			body.Containers = append(body.Containers, renderContainerV3(s, i, v))
		}
	}
	return body
}

func renderTaskV4(s *task.Snapshot, in *Instance) taskV4 {
	body := taskV4{
		Cluster: in.Cluster, TaskARN: s.ARN, Family: s.Family, Revision: s.Version,
		DesiredStatus: s.State.Desired.String(), KnownStatus: s.State.Known.String(), Limits: taskLimits(s),
		PullStartedAt: moment(s.State.PullStartedAt), PullStoppedAt: moment(s.State.PullStoppedAt),
		ExecutionStoppedAt: moment(s.State.ExecutionStoppedAt), AvailabilityZone: in.Zone, AvailabilityZoneID: in.ZoneID,
		LaunchType: s.LaunchType, VPCID: in.VPC, ServiceName: s.ServiceName, FaultInjectionEnabled: s.EnableFaultInjection,
	}
	var pulled []containerV4
	for i := range s.State.Containers {
		switch c := &s.State.Containers[i]; {
		case c.RuntimeID != "":
			body.Containers = append(body.Containers, renderContainerV4(s, i))
		case c.Known == task.ContainerPulled:
			pulled = append(pulled, renderContainerV4(s, i))
		}
	}
	body.Containers = append(body.Containers, pulled...)
	if s.NetworkMode == "bridge" && serviceConnect(s.Spec) {
		// Old Service Connect agents infer IP families from the first container.
		slices.SortStableFunc(body.Containers, func(a, b containerV4) int { return pauseLast(a) - pauseLast(b) })
	}
	return body
}

func pauseLast(c containerV4) int {
	if c.Type == string(task.CNIPause) {
		return 0
	}
	return 1
}

func serviceConnect(s *task.Spec) bool {
	return slices.ContainsFunc(s.Attachments, func(a task.Attachment) bool { return a.Type == "serviceconnectdetail" })
}

func taskLimits(s *task.Snapshot) *limits {
	if s.CPU == 0 && s.Memory == 0 {
		return nil
	}
	return &limits{CPU: s.CPU, Memory: s.Memory}
}

func renderContainerV3(s *task.Snapshot, i int, v version) containerV3 {
	c, st := &s.Containers[i], &s.State.Containers[i]
	body := containerV3{containerHead: head(s, i, false), Health: healthOf(c, st), Volumes: volumes(st)}
	if v == v2 && len(s.ENIs) == 0 {
		return body
	}
	for _, n := range networks(s, i) {
		if len(s.ENIs) == 0 {
			n.IPv6Addresses = nil
		}
		body.Networks = append(body.Networks, n.networkV3)
	}
	return body
}

func renderContainerV4(s *task.Snapshot, i int) containerV4 {
	c, st := &s.Containers[i], &s.State.Containers[i]
	body := containerV4{
		containerHead: head(s, i, true), Health: healthOf(c, st), Volumes: volumes(st), ContainerARN: c.ARN, Networks: networks(s, i),
	}
	body.LogDriver, body.LogOptions, _ = hostConfig(c)
	if c.Restart != nil && c.Restart.Enabled {
		count := st.RestartCount
		body.RestartCount = &count
	}
	return body
}

func head(s *task.Snapshot, i int, hostIP bool) containerHead {
	c, st := &s.Containers[i], &s.State.Containers[i]
	h := containerHead{
		DockerId: st.RuntimeID, Name: c.Name, DockerName: st.DockerName, Image: c.Image, ImageID: st.ImageID,
		Labels: st.Labels, DesiredStatus: st.Desired.String(), KnownStatus: st.Known.String(), ExitCode: st.ExitCode,
		Limits:    containerLimits{CPU: max(c.CPU, minShares), Memory: c.Memory},
		CreatedAt: moment(st.CreatedAt), StartedAt: moment(st.StartedAt), FinishedAt: moment(st.FinishedAt),
		Type: string(c.Type),
	}
	if h.Type == "" {
		h.Type = "NORMAL"
	}
	if st.RuntimeID == "" {
		h.DockerName = "" // chosen, but nothing has it yet
	}
	for _, b := range st.Bindings {
		p := port{ContainerPort: b.ContainerPort, Protocol: string(b.Protocol), HostPort: b.HostPort}
		if len(s.ENIs) > 0 {
			p.HostPort = p.ContainerPort
		}
		if hostIP {
			p.HostIp = b.BindIP
		}
		h.Ports = append(h.Ports, p)
	}
	return h
}

// dockerHealth is the kind of health check whose results are shown.
const dockerHealth = "docker"

func healthOf(c *task.Container, st *task.ContainerState) *health {
	if !strings.EqualFold(c.HealthCheckType, dockerHealth) {
		return nil
	}
	h := &health{Since: moment(st.HealthSince), ExitCode: st.HealthExitCode, Output: st.HealthOutput}
	if st.Health != task.HealthUnknown {
		h.Status = st.Health.String()
	}
	return h
}

func volumes(st *task.ContainerState) (list []volume) {
	for _, m := range st.Mounts {
		list = append(list, volume{DockerName: m.Name, Source: m.Source, Destination: m.Destination})
	}
	return list
}

// hostConfig reads what the customer wrote into the container's host configuration.
func hostConfig(c *task.Container) (driver string, options map[string]string, network string) {
	var host struct {
		NetworkMode string
		LogConfig   struct {
			Type   string
			Config map[string]string
		}
	}
	if c.DockerHostConfig == "" || json.Unmarshal([]byte(c.DockerHostConfig), &host) != nil {
		return "", nil, ""
	}
	return host.LogConfig.Type, host.LogConfig.Config, host.NetworkMode
}

// networks are those of a container (docs/spec/04 section 3.8).
func networks(s *task.Snapshot, i int) []networkV4 {
	if len(s.ENIs) > 0 {
		return []networkV4{interfaceOf(s)}
	}
	c, st := &s.Containers[i], &s.State.Containers[i]
	if st.RuntimeID == "" {
		return nil
	}
	over := st.Known == task.ContainerStopped // Docker shows no addresses any more
	var list []networkV4
	for _, n := range st.Networks {
		shown := networkV4{networkV3: networkV3{NetworkMode: n.Name, IPv4Addresses: []string{n.IPv4}}}
		if over {
			shown.IPv4Addresses[0] = ""
		} else if n.IPv6 != "" {
			shown.IPv6Addresses = []string{n.IPv6}
		}
		list = append(list, shown)
	}
	if len(list) == 0 && st.Known >= task.ContainerRunning {
		_, _, mode := hostConfig(c)
		if mode == "" {
			mode = s.NetworkMode
		}
		if s.ConnectsBridged() {
			if pause := s.NetworkOf(i); pause >= 0 {
				mode = "container:" + s.State.Containers[pause].RuntimeID
			}
		}
		list = []networkV4{{networkV3: networkV3{NetworkMode: mode, IPv4Addresses: []string{""}}}}
	}
	return list
}

// interfaceOf is the task's first interface, which all its containers share.
func interfaceOf(s *task.Snapshot) networkV4 {
	eni := &s.ENIs[0]
	n := networkV4{
		networkV3:  networkV3{NetworkMode: "awsvpc", IPv4Addresses: addresses(eni.IPv4), IPv6Addresses: addresses(eni.IPv6)},
		MACAddress: eni.MAC, DomainNameServers: eni.DomainNameServers, DomainNameSearchList: eni.DomainNames,
		PrivateDNSName: eni.PrivateDNSName, SubnetGatewayIpv4Address: eni.SubnetGatewayIPv4,
	}
	if s.NetworkMode == "awsvpc" {
		n.AttachmentIndex = new(int)
	}
	n.IPv4SubnetCIDRBlock = block(eni.SubnetGatewayIPv4)
	if len(eni.IPv6) > 0 {
		bits := 64
		if len(eni.IPv4) == 0 {
			n.SubnetGatewayIpv6Address = eni.SubnetGatewayIPv6
			if gateway, err := netip.ParsePrefix(eni.SubnetGatewayIPv6); err == nil {
				bits = gateway.Bits()
			}
		}
		if a, err := netip.ParseAddr(eni.IPv6[0].Address); err == nil {
			if p, err := a.Prefix(bits); err == nil {
				n.IPv6SubnetCIDRBlock = p.String()
			}
		}
	}
	return n
}

func addresses(list []task.Address) (texts []string) {
	for _, a := range list {
		texts = append(texts, a.Address)
	}
	return texts
}

// block is the network of an address with its prefix length; empty when it is none.
func block(gateway string) string {
	p, err := netip.ParsePrefix(gateway)
	if err != nil {
		return ""
	}
	return p.Masked().String()
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
