package tasknet

import (
	"encoding/json"
	"net/netip"

	"ecsagent/agent/task"
)

// connectName is the name of the interface that a Service Connect call is about; there
// is none.
const connectName = "ecs-sc"

type connectConfig struct {
	head
	Ingress    []connectListener `json:"ingressConfig,omitempty"`
	Egress     *connectEgress    `json:"egressConfig,omitempty"`
	EnableIPv4 bool              `json:"enableIPv4,omitempty"`
	EnableIPv6 bool              `json:"enableIPv6,omitempty"`
}

type connectListener struct {
	Port      uint16 `json:"listenerPort"`
	Intercept uint16 `json:"interceptPort,omitempty"`
}

type connectEgress struct {
	Port uint16      `json:"listenerPort"`
	Via  *connectVia `json:"redirectIP"`
	Mode string      `json:"redirectMode"`
	VIP  connectVIP  `json:"vip"`
}

type connectVia struct {
	IPv4 string `json:"ipv4,omitempty"`
	IPv6 string `json:"ipv6,omitempty"`
}

type connectVIP struct {
	IPv4 string `json:"ipv4Cidr,omitempty"`
	IPv6 string `json:"ipv6Cidr,omitempty"`
}

// connectStep redirects a task's traffic to its Service Connect proxy in the same
// namespace (docs/spec/05 section 6.6), in the families that its interface has. ok is
// false when there is nothing to redirect.
func connectStep(c *task.Connect, e *task.ENI) (s Step, ok bool, err error) {
	config := connectConfig{head: headOf("ecs-serviceconnect"), EnableIPv4: len(e.IPv4) > 0, EnableIPv6: len(e.IPv6) > 0}
	for _, l := range c.Ingress {
		config.Ingress = append(config.Ingress, connectListener{l.Port, l.Intercept})
	}
	if out := c.Egress; out != nil {
		config.Egress = &connectEgress{Port: out.Port, Mode: "nat", VIP: connectVIP{out.VIP.IPv4, out.VIP.IPv6}}
		// A family in which services have no addresses has no traffic to them.
		config.EnableIPv4 = config.EnableIPv4 && out.VIP.IPv4 != ""
		config.EnableIPv6 = config.EnableIPv6 && out.VIP.IPv6 != ""
	}
	if len(config.Ingress) == 0 && config.Egress == nil || !config.EnableIPv4 && !config.EnableIPv6 {
		return Step{}, false, nil
	}
	text, err := json.Marshal(config)
	return Step{Plugin: "ecs-serviceconnect", IfName: connectName, Config: text, Delete: text}, true, err
}

// NewBridgedPlan decides what is run in the namespace of a pause container of a task with
// Service Connect in mode bridge (docs/spec/05 section 6.7): in that of the proxy packets
// to the VIP range are delivered to its listener as they are, in the others they are sent
// to the proxy's addresses there. An address that is not valid has its family left out.
func NewBridgedPlan(c *task.Connect, ofProxy bool, v4, v6 netip.Addr) (Plan, error) {
	if c.Egress == nil {
		return Plan{}, nil
	}
	out := c.Egress
	config := connectConfig{
		head:       headOf("ecs-serviceconnect"),
		Egress:     &connectEgress{Mode: "tproxy", VIP: connectVIP{out.VIP.IPv4, out.VIP.IPv6}},
		EnableIPv4: v4.IsValid() && out.VIP.IPv4 != "", EnableIPv6: v6.IsValid() && out.VIP.IPv6 != "",
	}
	if !config.EnableIPv4 && !config.EnableIPv6 {
		return Plan{}, nil
	}
	if ofProxy {
		config.Egress.Port = out.Port
	} else {
		config.Egress.Via = &connectVia{}
		if config.EnableIPv4 {
			config.Egress.Via.IPv4 = v4.String()
		}
		if config.EnableIPv6 {
			config.Egress.Via.IPv6 = v6.String()
		}
	}
	text, err := json.Marshal(config)
	return Plan{Steps: []Step{{Plugin: "ecs-serviceconnect", IfName: connectName, Config: text, Delete: text}}}, err
}
