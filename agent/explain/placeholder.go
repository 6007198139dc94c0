package explain

import (
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/hostport"
	"ecsagent/agent/task"
)

// Placeholders for what is chosen while the agent runs.
const (
	holderHex    = "<hex>"
	holderUUID   = "<uuid>"
	holderPort   = "<port>"
	holderDigest = "<digest>"
)

// hexDigits is the length of the random part of names (docs/spec/02 section 4.9).
const hexDigits = 20

// somePort is what stands in for chosen ports until the request is built: the
// first of each mapping.
const somePort = 1

func noChance() uint64 { return 0 }

// placeholders is the state of a task about to start, with placeholders where the
// agent would have chosen something.
func placeholders(spec *task.Spec) *task.State {
	st := &task.State{
		Containers: make([]task.ContainerState, len(spec.Containers)),
		Volumes:    make([]task.VolumeState, len(spec.Volumes)),
	}
	for i := range spec.Containers {
		c := &st.Containers[i]
		c.DockerName = withHex(dockerspec.Name(spec, i, noChance))
		c.EndpointID = holderUUID
		if spec.NetworkMode == "bridge" && (spec.Containers[i].FireLens != nil || spec.Containers[i].Type == task.CNIPause) {
			c.Networks = []task.Network{{Name: "bridge", IPv4: "<address of " + spec.Containers[i].Name + ">"}}
		}
		c.RuntimeID = "<id of " + spec.Containers[i].Name + ">"
		for _, p := range spec.Containers[i].Ports {
			var first uint16
			if dynamic(p) {
				first = somePort
			}
			c.HostPorts = append(c.HostPorts, first)
		}
	}
	for i := range spec.Volumes {
		if !task.NeedsVolume(spec, i) {
			continue
		}
		name := dockerspec.VolumeName(spec, i, noChance)
		if !dockerspec.Shared(&spec.Volumes[i]) {
			name = withHex(name)
		}
		st.Volumes[i].DockerName = name
	}
	return st
}

func withHex(name string) string { return name[:len(name)-hexDigits] + holderHex }

// dynamic reports whether the agent chooses the host port (docs/spec/02 section 4.6).
func dynamic(p task.PortMapping) bool { return p.Range != "" || p.HostPort == 0 }

// namePorts puts placeholders in place of the host ports that the agent chooses: of a
// range <port>, <port>+1 and so on.
func (e *explainer) namePorts(i int, host *container.HostConfig) {
	for _, p := range e.spec.Containers[i].Ports {
		if !dynamic(p) {
			continue
		}
		span := hostport.Range{First: p.ContainerPort, Last: p.ContainerPort}
		if p.Range != "" {
			var err error
			if span, err = hostport.ParseRange(p.Range); err != nil {
				continue // Build has refused it
			}
		}
		for n := range span.Size() {
			key := nat.Port(strconv.Itoa(int(span.First)+n) + "/" + string(p.Protocol))
			name := holderPort
			if n > 0 {
				name += "+" + strconv.Itoa(n)
			}
			bindings := slices.Clone(host.PortBindings[key])
			for b := range bindings {
				if bindings[b].HostPort == strconv.Itoa(somePort+n) {
					bindings[b].HostPort = name
				}
			}
			if bindings != nil {
				host.PortBindings[key] = bindings
			}
		}
	}
}

// withoutDigest puts the placeholder where the noting engine's digest stands.
func withoutDigest(ref string) string { return strings.ReplaceAll(ref, noDigest, holderDigest) }
