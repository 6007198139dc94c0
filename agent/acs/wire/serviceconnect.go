package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"ecsagent/agent/task"
)

func missing(where, property string, properties map[string]string) error {
	if _, ok := properties[property]; ok {
		return fmt.Errorf("%s: property %s is empty: want a value", where, quote(property))
	}
	return fmt.Errorf("%s: property %s is absent: want a value", where, quote(property))
}

func wrongProperty(o object, property, value string, want []string) error {
	return fmt.Errorf("%s: property %s is %s: want one of %s",
		o.at("attachmentProperties"), quote(property), quote(value), strings.Join(want, ", "))
}

// checkServiceConnect validates the Service Connect settings of a task
// (docs/spec/01 section 2.9.8).
func checkServiceConnect(s *task.Spec, a task.Attachment) error {
	if name := a.Properties["ContainerName"]; s.Index(name) < 0 {
		return fmt.Errorf("ContainerName is %s: want the name of a container of the task", quote(name))
	}
	d := new(decoder)
	o := d.open([]byte(a.Properties["ServiceConnectConfig"]), "ServiceConnectConfig")
	if d.err != nil {
		return d.err
	}
	checkEgress(o.inner("egressConfig"))
	checkDNS(o)
	checkIngress(o, s.NetworkMode)
	return d.err
}

func checkEgress(o object) {
	if o.members == nil {
		return
	}
	o.required("listenerName")
	readPortNumber(o, "listenerPort")
	vip := o.inner("vip")
	for _, name := range []string{"ipv4Cidr", "ipv6Cidr"} {
		cidr := vip.text(name)
		if cidr == "" {
			continue
		}
		if _, err := netip.ParsePrefix(cidr); err != nil {
			vip.reject(name, "a CIDR block")
		}
	}
}

func checkDNS(o object) {
	for _, entry := range o.each("dnsConfig") {
		entry.required("hostName")
		if _, err := netip.ParseAddr(entry.required("address")); err != nil {
			entry.reject("address", "an IP address")
		}
	}
}

func checkIngress(o object, mode string) {
	ports, hostPorts := make(map[uint16]bool), make(map[uint16]bool)
	unique := func(i object, name string, seen map[uint16]bool) {
		port := readPortNumber(i, name)
		if port != 0 && seen[port] {
			i.reject(name, "a port that no other listener uses")
		}
		seen[port] = true
	}
	for n, i := range o.each("ingressConfig") {
		if n == 0 && mode != "bridge" && mode != "awsvpc" {
			o.d.fail(errors.New("ingressConfig: want network mode bridge or awsvpc, not " + quote(mode)))
		}
		unique(i, "listenerPort", ports)
		for _, name := range []string{"interceptPort", "hostPort"} {
			if i.has(name) && i.integer(name, 1, 65535) == 0 {
				return
			}
		}
		unique(i, "interceptPort", ports)
		if mode == "awsvpc" && i.has("interceptPort") {
			i.required("listenerName")
		}
		if mode == "bridge" {
			unique(i, "hostPort", hostPorts)
		}
	}
}
