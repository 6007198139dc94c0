package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// ConnectImage is the image of Service Connect's proxies, which a package puts on the host
// (docs/spec/05 section 6.4).
const ConnectImage = "ecs-service-connect-agent:interface-v1"

// ConnectUser is who a proxy runs as.
const ConnectUser = 20000

// connectAttachment is the kind of attachment that a Service Connect configuration is.
const connectAttachment = "serviceconnectdetail"

// Connect is the Service Connect configuration of a task (docs/spec/05 section 6.2).
type Connect struct {
	Container string                 // the proxy
	Ingress   []ConnectListener      `json:"ingressConfig,omitempty"`
	Egress    *ConnectEgress         `json:"egressConfig,omitempty"`
	Names     []ConnectName          `json:"dnsConfig,omitempty"`
	Chosen    map[string]ConnectPort `json:"chosen,omitempty"` // ports of listeners that ECS left to the agent
}

// ConnectPort is a TCP port.
type ConnectPort = uint16

// ConnectListener is where a proxy takes connections for an application's port.
type ConnectListener struct {
	Name      string      `json:"listenerName,omitempty"`
	Port      ConnectPort `json:"listenerPort,omitempty"`
	Intercept ConnectPort `json:"interceptPort,omitempty"` // the application's; 0: nothing is intercepted
	Host      ConnectPort `json:"hostPort,omitempty"`
}

// ConnectEgress is where a proxy takes connections to services.
type ConnectEgress struct {
	Name string      `json:"listenerName"`
	Port ConnectPort `json:"listenerPort,omitempty"`
	VIP  struct {
		IPv4 string `json:"ipv4Cidr,omitempty"`
		IPv6 string `json:"ipv6Cidr,omitempty"`
	} `json:"vip"`
}

// ConnectName is a service's name with its address in the VIP range.
type ConnectName struct {
	Host    string `json:"hostName"`
	Address string `json:"address"`
}

// addConnect makes a task with a Service Connect attachment one whose other containers
// wait for its proxy and end before it. What ECS leaves to chance is chosen here.
func addConnect(s *Spec) error {
	if s.Connect != nil {
		return nil // accepted before
	}
	i := slices.IndexFunc(s.Attachments, func(a Attachment) bool { return a.Type == connectAttachment })
	if i < 0 {
		return nil
	}
	properties := s.Attachments[i].Properties
	c := &Connect{}
	if err := json.Unmarshal([]byte(properties["ServiceConnectConfig"]), c); err != nil {
		return fmt.Errorf("read ServiceConnectConfig: %w", err)
	}
	c.Container = properties["ContainerName"]
	proxy := s.Index(c.Container)
	switch {
	case proxy < 0:
		return fmt.Errorf("Service Connect: ContainerName is %q: want the name of a container of the task", c.Container)
	case s.NetworkMode != "awsvpc" && s.NetworkMode != "bridge":
		return fmt.Errorf("Service Connect is not supported in network mode %s; want awsvpc or bridge", s.NetworkMode)
	}
	if s.NetworkMode == "bridge" {
		// The application is in another namespace: nothing can be intercepted.
		for k := range c.Ingress {
			c.Ingress[k].Intercept = 0
		}
	}
	if err := c.choosePorts(s); err != nil {
		return err
	}
	if err := runsAsConnect(&s.Containers[proxy]); err != nil {
		return err
	}
	for k := range s.Containers {
		if other := &s.Containers[k]; k != proxy && !other.Internal() {
			other.DependsOn = addEdge(slices.Clone(other.DependsOn), c.Container, DependsHealthy)
		}
	}
	s.Connect = c
	return nil
}

// runsAsConnect makes a container the proxy: its image is the agent's own.
func runsAsConnect(c *Container) error {
	c.Image, c.Local, c.RegistryAuth = ConnectImage, true, nil
	config := make(map[string]json.RawMessage)
	if c.DockerConfig != "" {
		if err := json.Unmarshal([]byte(c.DockerConfig), &config); err != nil {
			return fmt.Errorf("docker config of container %s: %w", c.Name, err)
		}
	}
	if _, own := config["User"]; own { // also an empty one
		return nil
	}
	config["User"] = json.RawMessage(strconv.Quote(strconv.Itoa(ConnectUser)))
	text, err := json.Marshal(config)
	c.DockerConfig = string(text)
	return err
}

// Ports from which those of listeners are chosen, and how often a port may turn out to be
// taken (docs/spec/05 section 6.3).
const (
	firstListenerPort, lastListenerPort = 32768, 60999
	maxCollisions                       = 100
)

// choosePorts gives listeners without a port one that nothing of the task has.
func (c *Connect) choosePorts(s *Spec) error {
	taken := make(map[ConnectPort]bool)
	for i := range s.Containers {
		for _, p := range s.Containers[i].Ports {
			taken[p.ContainerPort] = true
			if first, last, ok := strings.Cut(p.Range, "-"); ok {
				a, _ := strconv.Atoi(first)
				b, _ := strconv.Atoi(last)
				for port := a; port <= b; port++ {
					taken[ConnectPort(port)] = true
				}
			}
		}
	}
	for _, l := range c.Ingress {
		taken[l.Port], taken[l.Intercept] = true, true
	}
	if c.Egress != nil {
		taken[c.Egress.Port] = true
	}
	collisions := 0
	choose := func(name string, port *ConnectPort) error {
		for *port == 0 {
			p := ConnectPort(firstListenerPort + rand.IntN(lastListenerPort-firstListenerPort+1))
			if !taken[p] {
				*port, taken[p] = p, true
				if c.Chosen == nil {
					c.Chosen = make(map[string]ConnectPort)
				}
				c.Chosen[name] = p
				break
			}
			if collisions++; collisions > maxCollisions {
				return errors.New("no port was found for the Service Connect listener " + name)
			}
		}
		return nil
	}
	for i := range c.Ingress {
		if err := choose(c.Ingress[i].Name, &c.Ingress[i].Port); err != nil {
			return err
		}
	}
	if c.Egress != nil {
		return choose(c.Egress.Name, &c.Egress.Port)
	}
	return nil
}
