package introspection

import (
	"strconv"
	"strings"
	"time"

	"ecsagent/agent/task"
)

// taskBody is a task as /v1/tasks shows it (docs/spec/04 section 1.3).
type taskBody struct {
	Arn           string
	DesiredStatus string `json:",omitempty"`
	KnownStatus   string
	Family        string
	Version       string
	Containers    []containerBody
}

type containerBody struct {
	DockerId   string //nolint:revive // the wire's name
	DockerName string
	Name       string
	Image      string
	ImageID    string
	CreatedAt  *time.Time    `json:",omitempty"`
	StartedAt  *time.Time    `json:",omitempty"`
	Ports      []portBody    `json:",omitempty"`
	Networks   []networkBody `json:",omitempty"`
	Volumes    []volumeBody  `json:",omitempty"`
	// RestartCount is shown, also as 0, only with a restart policy.
	RestartCount *int `json:",omitempty"`
}

type portBody struct {
	ContainerPort uint16 `json:",omitempty"`
	Protocol      string
	HostPort      uint16 `json:",omitempty"`
}

type networkBody struct {
	NetworkMode   string
	IPv4Addresses []string `json:",omitempty"`
	IPv6Addresses []string `json:",omitempty"`
}

type volumeBody struct {
	DockerName  string `json:",omitempty"`
	Source      string `json:",omitempty"`
	Destination string `json:",omitempty"`
}

func render(s *task.Snapshot) taskBody {
	known, desired := shown(s.State.Known), shown(s.State.Desired)
	if (known == "STOPPED" && desired != "STOPPED") || (known == "RUNNING" && desired == "PENDING") {
		desired = ""
	}
	body := taskBody{
		Arn: s.ARN, DesiredStatus: desired, KnownStatus: known,
		Family: s.Family, Version: s.Version, Containers: []containerBody{},
	}
	for i := range s.Spec.Containers {
		if c := &s.Spec.Containers[i]; !c.Internal() && i < len(s.State.Containers) {
			body.Containers = append(body.Containers, renderContainer(s.Spec, c, &s.State.Containers[i]))
		}
	}
	return body
}

func shown(s task.Status) string {
	switch s {
	case task.Running, task.Stopped:
		return s.String()
	default:
		return "PENDING"
	}
}

func renderContainer(spec *task.Spec, c *task.Container, st *task.ContainerState) containerBody {
	body := containerBody{
		DockerId: st.RuntimeID, DockerName: st.DockerName, Name: c.Name, Image: c.Image, ImageID: st.ImageID,
		CreatedAt: moment(st.CreatedAt), StartedAt: moment(st.StartedAt),
		Ports: renderPorts(spec, c, st), Networks: renderNetworks(spec),
	}
	for _, m := range st.Mounts {
		body.Volumes = append(body.Volumes, volumeBody{DockerName: m.Name, Source: m.Source, Destination: m.Destination})
	}
	if c.Restart != nil && c.Restart.Enabled {
		count := st.RestartCount
		body.RestartCount = &count
	}
	return body
}

func renderPorts(spec *task.Spec, c *task.Container, st *task.ContainerState) (ports []portBody) {
	for _, b := range st.Bindings {
		ports = append(ports, portBody{ContainerPort: b.ContainerPort, Protocol: string(b.Protocol), HostPort: b.HostPort})
	}
	if len(ports) > 0 {
		return ports
	}
	for _, p := range c.Ports {
		first, last := p.ContainerPort, p.ContainerPort
		if p.Range != "" {
			from, to, ok := strings.Cut(p.Range, "-")
			low, errLow := strconv.ParseUint(from, 10, 16)
			high, errHigh := strconv.ParseUint(to, 10, 16)
			if !ok || errLow != nil || errHigh != nil {
				continue
			}
			first, last = uint16(low), uint16(high)
		}
		for port := int(first); port <= int(last); port++ {
			shown := portBody{ContainerPort: uint16(port), Protocol: string(p.Protocol), HostPort: p.HostPort}
			if len(spec.ENIs) > 0 {
				shown.HostPort = uint16(port)
			}
			ports = append(ports, shown)
		}
	}
	return ports
}

func renderNetworks(spec *task.Spec) []networkBody {
	if len(spec.ENIs) == 0 {
		return nil
	}
	body := networkBody{NetworkMode: "awsvpc"}
	for _, a := range spec.ENIs[0].IPv4 {
		body.IPv4Addresses = append(body.IPv4Addresses, a.Address)
	}
	for _, a := range spec.ENIs[0].IPv6 {
		body.IPv6Addresses = append(body.IPv6Addresses, a.Address)
	}
	return []networkBody{body}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
