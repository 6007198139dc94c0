package tasknet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"ecsagent/agent/task"
)

// The addresses of the endpoints of host and agent, which are never redirected.
var (
	endpoints  = []string{"169.254.170.2", "169.254.169.254"}
	endpoints6 = []string{"fd00:ec2::254"}
)

// appMeshStep redirects a task's traffic to its App Mesh proxy (docs/spec/05 section 6.9),
// in the families that its interface has.
func appMeshStep(spec *task.Spec) (Step, error) {
	m := mesh(spec.Proxy.Properties)
	if spec.Index(spec.Proxy.ContainerName) < 0 {
		return Step{}, fmt.Errorf("containerName is %q: want the name of a container of the task", spec.Proxy.ContainerName)
	}
	if err := m.check(); err != nil {
		return Step{}, err
	}
	ipv6 := len(spec.ENIs[0].IPv6) > 0
	ignored := append(m.list("EgressIgnoredIPs"), endpoints...)
	if ipv6 {
		ignored = append(ignored, endpoints6...)
	}
	config, err := json.Marshal(struct {
		head
		UID         string   `json:"ignoredUID"`
		GID         string   `json:"ignoredGID"`
		Ingress     string   `json:"proxyIngressPort"`
		Egress      string   `json:"proxyEgressPort"`
		AppPorts    []string `json:"appPorts"`
		IgnorePorts []string `json:"egressIgnoredPorts"`
		IgnoreIPs   []string `json:"egressIgnoredIPs"`
		EnableIPv6  bool     `json:"enableIPv6,omitempty"`
	}{headOf("aws-appmesh"), m["IgnoredUID"], m["IgnoredGID"], m["ProxyIngressPort"], m["ProxyEgressPort"],
		m.list("AppPorts"), m.list("EgressIgnoredPorts"), ignored, ipv6})
	return Step{Plugin: "aws-appmesh", IfName: appMeshName, Config: config, Delete: config}, err
}

// mesh are the properties of a proxy configuration.
type mesh map[string]string

// list is a property of several values; nil without one.
func (m mesh) list(name string) (all []string) {
	for value := range strings.SplitSeq(m[name], ",") {
		if value = strings.TrimSpace(value); value != "" {
			all = append(all, value)
		}
	}
	return all
}

// check finds what the plugin would refuse, before anything of the task is made.
func (m mesh) check() error {
	if m["IgnoredUID"] == "" && m["IgnoredGID"] == "" {
		return fmt.Errorf("properties IgnoredUID and IgnoredGID are empty: want the proxy's user or group, whose own traffic passes")
	}
	for _, name := range []string{"IgnoredUID", "IgnoredGID"} {
		if _, err := strconv.ParseUint(m[name], 10, 32); m[name] != "" && err != nil {
			return fmt.Errorf(`property %s is %q: want a number such as "1337"`, name, m[name])
		}
	}
	port := func(name, value string) error {
		if n, err := strconv.ParseUint(value, 10, 16); err != nil || n == 0 {
			return fmt.Errorf(`property %s is %q: want a port from "1" to "65535"`, name, value)
		}
		return nil
	}
	if err := port("ProxyEgressPort", m["ProxyEgressPort"]); err != nil {
		return err
	}
	apps := m.list("AppPorts")
	if len(apps) == 0 && m["ProxyIngressPort"] != "" {
		return fmt.Errorf("property AppPorts is empty: want the application's ports, because there is a ProxyIngressPort")
	}
	if len(apps) > 0 {
		if err := port("ProxyIngressPort", m["ProxyIngressPort"]); err != nil {
			return err
		}
	}
	for _, name := range []string{"AppPorts", "EgressIgnoredPorts"} {
		for _, value := range m.list(name) {
			if err := port(name, value); err != nil {
				return err
			}
		}
	}
	for _, value := range m.list("EgressIgnoredIPs") {
		_, network := netip.ParsePrefix(value)
		if _, address := netip.ParseAddr(value); network != nil && address != nil {
			return fmt.Errorf("property EgressIgnoredIPs has %q: want an address or a network such as 192.0.2.0/24", value)
		}
	}
	return nil
}
