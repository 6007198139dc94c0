package service

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.uber.org/zap"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/placement"
)

const (
	attributeZone     = "ecs.availability-zone"
	attributeExternal = "ecs.capability.external"
	attributeFullSync = "ecs.capability.full-sync"
)

var attributeForm = regexp.MustCompile(`^[A-Za-z0-9_./\\-]{1,128}$`)

func checkAttribute(a api.Attribute) error {
	if !attributeForm.MatchString(a.Name) {
		return api.Invalid("Invalid attribute name '%s'.", clip(a.Name))
	}
	if len(a.Value) > 128 {
		return api.Invalid("The value of attribute '%s' has more than 128 characters.", clip(a.Name))
	}
	return nil
}

// offer is what a registration says the host has.
type offer struct {
	cpu, memory int
	tcp, udp    []uint16
	gpus        []string
	attributes  map[string]string
}

func readOffer(in *api.RegisterContainerInstanceRequest) (*offer, error) {
	o := &offer{attributes: map[string]string{}}
	var ok bool
	for _, r := range in.TotalResources {
		switch r.Name {
		case "CPU":
			o.cpu = r.IntegerValue
		case "MEMORY":
			o.memory = r.IntegerValue
		case "PORTS":
			if o.tcp, ok = readPorts(r.StringSetValue); !ok {
				return nil, api.Invalid("Invalid PORTS resource.")
			}
		case "PORTS_UDP":
			if o.udp, ok = readPorts(r.StringSetValue); !ok {
				return nil, api.Invalid("Invalid PORTS_UDP resource.")
			}
		}
	}
	if o.cpu <= 0 || o.memory <= 0 {
		return nil, api.Client("Invalid total resources: CPU and MEMORY must be greater than 0.")
	}
	for _, d := range in.PlatformDevices {
		if d.Type == "GPU" && d.ID != "" {
			o.gpus = append(o.gpus, d.ID)
		}
	}
	for _, a := range in.Attributes {
		if err := checkAttribute(a); err != nil {
			return nil, err
		}
		o.attributes[a.Name] = a.Value
	}
	return o, nil
}

func readPorts(texts []string) ([]uint16, bool) {
	var ports []uint16
	for _, text := range texts {
		p, ok := placement.Port(text)
		if !ok {
			return nil, false
		}
		ports = append(ports, p)
	}
	slices.Sort(ports)
	return slices.Compact(ports), true
}

func (s *Service) registerContainerInstance(in *api.RegisterContainerInstanceRequest) (*api.ContainerInstanceResponse, error) {
	o, err := readOffer(in)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	out := new(api.ContainerInstanceResponse)
	err = s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			// Agents know this refusal by its message and this code (docs/spec/01
			// section 1.6.3).
			return api.Client("Cluster not found.")
		}
		i := s.registered(c, in.ClientToken)
		switch {
		case i != nil: // the same call once more
		case in.ContainerInstanceARN != "":
			if i, err = s.reregister(t, c, in, o); err != nil {
				return err
			}
		default:
			i = s.register(t, c, in, o)
		}
		out.ContainerInstance = s.state.instanceView(i, true)
		return nil
	})
	return out, err
}

// registered finds the instance that a client token has already registered.
func (s *Service) registered(c *cluster, token string) *instance {
	if token == "" {
		return nil
	}
	for _, i := range s.state.instancesOf(c, api.StatusActive, api.StatusDraining) {
		if i.ClientToken == token {
			return i
		}
	}
	return nil
}

func (s *Service) register(t *tx, c *cluster, in *api.RegisterContainerInstanceRequest, o *offer) *instance {
	_, external := o.attributes[attributeExternal]
	i := &instance{
		ARN: s.arn("container-instance", c.Name, newID()), Cluster: c.Name, Status: api.StatusActive,
		External: external, EC2ID: instanceID(in.InstanceIdentityDocument), Attributes: map[string]string{},
		RegisteredAt: api.At(t.now), tasks: map[string]*task{},
	}
	s.state.instances[i.ARN] = i
	s.offered(t, i, in, o)
	s.log.Info("container instance registered", zap.String("instance", i.ARN))
	return i
}

func (s *Service) reregister(t *tx, c *cluster, in *api.RegisterContainerInstanceRequest, o *offer) (*instance, error) {
	i, err := s.instance(in.ContainerInstanceARN, c)
	switch {
	case err != nil:
		return nil, err
	case i == nil:
		return nil, api.Client("Container instance %s is not registered.", clip(in.ContainerInstanceARN))
	case i.Status == api.StatusInactive:
		return nil, api.Client("Container instance %s is INACTIVE.", i.ARN)
	}
	if err := i.holds(o); err != nil {
		return nil, err
	}
	s.offered(t, i, in, o)
	return i, nil
}

// holds refuses an offer that is too small for the tasks on the instance.
func (in *instance) holds(o *offer) error {
	cpu, memory := 0, 0
	for _, tk := range in.tasks {
		cpu += tk.Need.CPU
		memory += tk.Need.Memory
		for _, p := range tk.Need.TCP {
			if slices.Contains(o.tcp, p) && !slices.Contains(in.TCP, p) {
				return api.Client("Container instance type changes are not supported. Port %d is used by a task.", p)
			}
		}
		for _, p := range tk.Need.UDP {
			if slices.Contains(o.udp, p) && !slices.Contains(in.UDP, p) {
				return api.Client("Container instance type changes are not supported. UDP port %d is used by a task.", p)
			}
		}
	}
	if o.cpu < cpu || o.memory < memory {
		return api.Client("Container instance type changes are not supported. Container instance %s offers CPU %d and MEMORY %d, but its tasks use %d and %d.",
			in.ARN, o.cpu, o.memory, cpu, memory)
	}
	return nil
}

// offered takes over what a registration says. Attributes of users stay over a
// re-registration, which does not name them.
func (s *Service) offered(t *tx, i *instance, in *api.RegisterContainerInstanceRequest, o *offer) {
	i.CPU, i.Memory, i.TCP, i.UDP, i.GPUs = o.cpu, o.memory, o.tcp, o.udp, o.gpus
	attributes := map[string]string{}
	for name, value := range i.Attributes {
		if !strings.HasPrefix(name, "ecs.") && !strings.HasPrefix(name, "com.amazonaws.ecs.") {
			attributes[name] = value
		}
	}
	maps.Copy(attributes, o.attributes)
	if attributes[attributeZone] == "" {
		attributes[attributeZone] = s.opts.AvailabilityZone
	}
	i.Attributes = attributes
	i.Tags = mergeTags(i.Tags, in.Tags)
	i.ClientToken = in.ClientToken
	if in.VersionInfo != (api.VersionInfo{}) {
		i.VersionInfo = in.VersionInfo
	}
	t.instanceChanged(i)
}

// instanceID takes the EC2 instance id from an identity document. An instance
// without one gets an id as managed instances have.
func instanceID(document string) string {
	var d struct {
		InstanceID string `json:"instanceId"`
	}
	if err := json.Unmarshal([]byte(document), &d); err == nil && d.InstanceID != "" {
		return d.InstanceID
	}
	return "mi-" + newID()[:17]
}

func (s *Service) discoverPollEndpoint(c *call, _ *api.DiscoverPollEndpointRequest) (*api.DiscoverPollEndpointResponse, error) {
	base := "http://" + c.host + "/"
	if c.tls {
		base = "https://" + c.host + "/"
	}
	out := &api.DiscoverPollEndpointResponse{Endpoint: s.opts.PollEndpoint, TelemetryEndpoint: s.opts.TelemetryEndpoint}
	if out.Endpoint == "" {
		out.Endpoint = base
	}
	if out.TelemetryEndpoint == "" {
		out.TelemetryEndpoint = base
	}
	return out, nil
}
