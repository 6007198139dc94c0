package docker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// maxHealthOutput is how much of a probe's output is kept, in bytes
// (docs/spec/02 section 2.6.1).
const maxHealthOutput = 1024

// fromInspect reads an inspect answer as docs/spec/02 section 2.6.1 does.
func fromInspect(in *container.InspectResponse) runtime.Container {
	s := in.State
	c := runtime.Container{
		ID:         in.ID,
		Name:       containerName(in.Name),
		Image:      in.Image,
		Pid:        s.Pid,
		OOM:        s.OOMKilled,
		Error:      s.Error,
		CreatedAt:  parseTime(in.Created),
		StartedAt:  parseTime(s.StartedAt),
		FinishedAt: parseTime(s.FinishedAt),
	}
	c.Status = statusOf(s, c.StartedAt)
	if !s.Running && !c.FinishedAt.IsZero() {
		code := s.ExitCode
		c.ExitCode = &code
	}
	if in.Config != nil {
		c.Labels = in.Config.Labels
		c.HasHealthCheck = checksHealth(in.Config.Healthcheck)
	}
	if in.NetworkSettings != nil {
		c.Bindings = bindingsOf(in.NetworkSettings.Ports)
		c.Networks = networksOf(in.NetworkSettings.Networks)
	}
	c.Mounts = mountsOf(in.Mounts)
	readHealth(&c, s.Health)
	return c
}

func statusOf(s *container.State, started time.Time) task.ContainerStatus {
	switch {
	case s.Running:
		return task.ContainerRunning
	case s.Dead:
		return task.ContainerStopped
	case started.IsZero() && s.Error == "":
		return task.ContainerCreated
	}
	return task.ContainerStopped
}

func checksHealth(h *container.HealthConfig) bool {
	return h != nil && len(h.Test) > 0 && h.Test[0] != "NONE"
}

// readHealth reads the health that Docker determined; while it is still starting
// there is none, and HealthStarting says so.
func readHealth(c *runtime.Container, h *container.Health) {
	if h == nil || h.Status == container.NoHealthcheck {
		return
	}
	c.HasHealthCheck = true
	c.Health, c.HealthStarting = healthOf(h.Status)
	if len(h.Log) == 0 || h.Log[len(h.Log)-1] == nil {
		return
	}
	last := h.Log[len(h.Log)-1]
	c.HealthOutput = cut(last.Output, maxHealthOutput)
	if c.Health == task.HealthUnhealthy {
		c.HealthExitCode = last.ExitCode
	}
}

func healthOf(status string) (health task.Health, starting bool) {
	switch status {
	case container.Healthy:
		return task.HealthHealthy, false
	case container.Unhealthy:
		return task.HealthUnhealthy, false
	}
	return task.HealthUnknown, status == container.Starting
}

// fromSummary reads an entry of a list.
func fromSummary(in *container.Summary) runtime.Container {
	c := runtime.Container{
		ID:        in.ID,
		Image:     in.ImageID,
		Labels:    in.Labels,
		CreatedAt: time.Unix(in.Created, 0).UTC(),
		Mounts:    mountsOf(in.Mounts),
	}
	// A linked container is listed under its aliases too, which have a second slash.
	for _, name := range in.Names {
		if name = containerName(name); !strings.Contains(name, "/") {
			c.Name = name
			break
		}
	}
	switch in.State {
	case container.StateCreated:
		c.Status = task.ContainerCreated
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		c.Status = task.ContainerRunning
	default:
		c.Status = task.ContainerStopped
	}
	// A list tells health in the text for people only: "Up 5 minutes (healthy)".
	switch {
	case strings.HasSuffix(in.Status, "(healthy)"):
		c.HasHealthCheck, c.Health = true, task.HealthHealthy
	case strings.HasSuffix(in.Status, "(unhealthy)"):
		c.HasHealthCheck, c.Health = true, task.HealthUnhealthy
	case strings.HasSuffix(in.Status, "(health: starting)"):
		c.HasHealthCheck, c.HealthStarting = true, true
	}
	for _, p := range in.Ports {
		if p.PublicPort != 0 && known(p.Type) {
			c.Bindings = append(c.Bindings, task.PortBinding{
				BindIP: p.IP, ContainerPort: p.PrivatePort, HostPort: p.PublicPort, Protocol: task.Protocol(p.Type),
			})
		}
	}
	sortBindings(c.Bindings)
	if in.NetworkSettings != nil {
		c.Networks = networksOf(in.NetworkSettings.Networks)
	}
	return c
}

// bindingsOf lists the published ports in a fixed order. Ports of protocols that
// ECS does not know (sctp) are left out: nobody can be told of them.
func bindingsOf(ports nat.PortMap) []task.PortBinding {
	var bindings []task.PortBinding
	for port, published := range ports {
		number, err := strconv.ParseUint(port.Port(), 10, 16)
		if err != nil || !known(port.Proto()) {
			continue
		}
		for _, p := range published {
			host, err := strconv.ParseUint(p.HostPort, 10, 16)
			if err != nil {
				continue
			}
			bindings = append(bindings, task.PortBinding{
				BindIP: p.HostIP, ContainerPort: uint16(number), HostPort: uint16(host), Protocol: task.Protocol(port.Proto()),
			})
		}
	}
	sortBindings(bindings)
	return bindings
}

func known(protocol string) bool {
	return protocol == string(task.TCP) || protocol == string(task.UDP)
}

func sortBindings(bindings []task.PortBinding) {
	slices.SortFunc(bindings, func(a, b task.PortBinding) int {
		return cmp.Or(
			cmp.Compare(a.ContainerPort, b.ContainerPort),
			cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.BindIP, b.BindIP),
			cmp.Compare(a.HostPort, b.HostPort),
		)
	})
}

func networksOf(in map[string]*network.EndpointSettings) map[string]runtime.Network {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]runtime.Network, len(in))
	for name, e := range in {
		if e != nil {
			out[name] = runtime.Network{IPv4: e.IPAddress, IPv6: e.GlobalIPv6Address, MAC: e.MacAddress, Gateway: e.Gateway}
		}
	}
	return out
}

func mountsOf(in []container.MountPoint) []task.Mount {
	if len(in) == 0 {
		return nil
	}
	out := make([]task.Mount, len(in))
	for i, m := range in {
		out[i] = task.Mount{Name: m.Name, Source: m.Source, Destination: m.Destination, ReadOnly: !m.RW}
	}
	return out
}

// parseTime reads Docker's times; its year 1 and garbage are the zero time.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// cut shortens text to at most limit bytes without splitting a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
