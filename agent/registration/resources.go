package registration

import (
	"fmt"
	"sort"
	"strconv"

	"ecsagent/agent/ecsapi"
)

const cpuShares = 1024 // of one CPU

// Resources is what the instance has for tasks (docs/spec/01 section 1.4.2).
type Resources struct {
	CPUs              int
	MemoryMiB         int64
	ReservedMemoryMiB int64    // ECS_RESERVED_MEMORY
	Ports             []uint16 // ECS_RESERVED_PORTS
	PortsUDP          []uint16 // ECS_RESERVED_PORTS_UDP
}

// total renders the resources for the wire.
func (r Resources) total() ([]ecsapi.Resource, error) {
	memory := r.MemoryMiB - r.ReservedMemoryMiB
	if memory < 0 {
		return nil, fmt.Errorf("reserved memory of %d MiB exceeds the host's %d MiB", r.ReservedMemoryMiB, r.MemoryMiB)
	}
	return []ecsapi.Resource{
		{Name: "CPU", Type: "INTEGER", IntegerValue: int64(r.CPUs) * cpuShares},
		{Name: "MEMORY", Type: "INTEGER", IntegerValue: memory},
		{Name: "PORTS", Type: "STRINGSET", StringSetValue: portStrings(r.Ports)},
		{Name: "PORTS_UDP", Type: "STRINGSET", StringSetValue: portStrings(r.PortsUDP)},
	}, nil
}

func portStrings(ports []uint16) []string {
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = strconv.Itoa(int(p))
	}
	return out
}

func platformDevices(gpus []string) []ecsapi.PlatformDevice {
	var out []ecsapi.PlatformDevice
	for _, id := range gpus {
		out = append(out, ecsapi.PlatformDevice{ID: id, Type: "GPU"})
	}
	return out
}

// mergeTags lays the configured tags over those of EC2, sorted by key.
func mergeTags(ec2, configured map[string]string) []ecsapi.Tag {
	all := make(map[string]string, len(ec2)+len(configured))
	for k, v := range ec2 {
		all[k] = v
	}
	for k, v := range configured {
		all[k] = v
	}
	var out []ecsapi.Tag
	for k, v := range all {
		out = append(out, ecsapi.Tag{Key: k, Value: v})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}
