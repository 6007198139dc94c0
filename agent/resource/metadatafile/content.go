package metadatafile

import (
	"encoding/json"

	"ecsagent/agent/task"
)

// content is the file (docs/spec/04 section 7.3); keys without a value are left out.
type content struct {
	Cluster                string    `json:",omitempty"`
	ContainerInstanceARN   string    `json:",omitempty"`
	TaskARN                string    `json:",omitempty"`
	TaskDefinitionFamily   string    `json:",omitempty"`
	TaskDefinitionRevision string    `json:",omitempty"`
	ContainerID            string    `json:",omitempty"`
	ContainerName          string    `json:",omitempty"`
	DockerContainerName    string    `json:",omitempty"`
	ImageID                string    `json:",omitempty"`
	ImageName              string    `json:",omitempty"`
	PortMappings           []mapping `json:",omitempty"`
	Networks               []network `json:",omitempty"`
	MetadataFileStatus     string    `json:",omitempty"`
	AvailabilityZone       string    `json:",omitempty"`
	HostPrivateIPv4Address string    `json:",omitempty"`
	HostPublicIPv4Address  string    `json:",omitempty"`
	HostIPv6Address        string    `json:",omitempty"`
}

type mapping struct {
	ContainerPort      uint16
	ContainerPortRange string
	HostPort           uint16
	BindIp             string //nolint:revive // the file's name
	Protocol           string
}

type network struct {
	NetworkMode   string
	IPv4Addresses []string `json:",omitempty"`
	IPv6Addresses []string `json:",omitempty"`
}

// first is the stage before the container is made. It has no status: consumers wait
// for READY.
func (f *Files) first(spec *task.Spec, i int) *content {
	in := f.o.Instance()
	return &content{
		Cluster: in.Cluster, ContainerInstanceARN: in.ARN, TaskARN: spec.ARN,
		TaskDefinitionFamily: spec.Family, TaskDefinitionRevision: spec.Version, ContainerName: spec.Containers[i].Name,
		AvailabilityZone: in.Zone, HostPrivateIPv4Address: in.PrivateIPv4, HostPublicIPv4Address: in.PublicIPv4, HostIPv6Address: in.PrimaryIPv6,
	}
}

// second is the stage of a container that runs.
func (f *Files) second(s *task.Snapshot, i int) *content {
	c, st := f.first(s.Spec, i), &s.State.Containers[i]
	c.ContainerID, c.DockerContainerName = st.RuntimeID, "/"+st.DockerName
	c.ImageID, c.ImageName = st.ImageID, s.Containers[i].Image
	for _, b := range st.Bindings {
		c.PortMappings = append(c.PortMappings, mapping{ContainerPort: b.ContainerPort, HostPort: b.HostPort, BindIp: b.BindIP, Protocol: string(b.Protocol)})
	}
	for _, n := range st.Networks {
		c.Networks = append(c.Networks, network{NetworkMode: n.Name, IPv4Addresses: []string{n.IPv4}})
	}
	if len(c.Networks) == 0 {
		c.Networks = []network{{NetworkMode: mode(s, i), IPv4Addresses: []string{""}}}
	}
	c.MetadataFileStatus = "READY"
	return c
}

// mode is the network mode of the container's host configuration.
func mode(s *task.Snapshot, i int) string {
	for j := range s.Containers {
		if s.Containers[j].Type == task.CNIPause && i != j {
			return "container:" + s.State.Containers[j].RuntimeID
		}
	}
	var host struct{ NetworkMode string }
	if json.Unmarshal([]byte(s.Containers[i].DockerHostConfig), &host) == nil && host.NetworkMode != "" {
		return host.NetworkMode
	}
	return s.NetworkMode
}
