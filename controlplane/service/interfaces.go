package service

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// VPC makes and removes the network interfaces of tasks. Its methods are called one at a
// time.
type VPC interface {
	// Subnet is where tasks' addresses come from, with the gateway as its address.
	Subnet() netip.Prefix
	// Subnet6 is the same for IPv6; not valid where tasks have no IPv6.
	Subnet6() netip.Prefix
	// IPv6Only has tasks without an IPv4 address; each counts as the one of Subnet that
	// its MAC address has.
	IPv6Only() bool
	// Attach makes the interface appear on the container instance. One that is there
	// stays.
	Attach(i wire.NetworkInterface) error
	// Detach removes the interface, wherever it is. One that is not there is no error.
	Detach(mac string) error
}

// What the local ECS calls its only subnet.
const localSubnet = "subnet-0ec510ca1"

// Statuses of an attachment, as DescribeTasks shows them.
const (
	eniAttaching = "ATTACHING"
	eniAttached  = "ATTACHED"
	eniDeleted   = "DELETED"
)

// reasonNoInterface is why a task stops whose interface its agent has not seen.
const reasonNoInterface = "Timeout waiting for network interface provisioning to complete."

// eni is a task's network interface; it is part of the task's record.
type eni struct {
	Interface wire.NetworkInterface
	Subnet    string
	Status    string
	Until     time.Time // when the task gives up waiting for it
}

// idOf is the id of an attachment, which is the last part of its ARN.
func idOf(attachmentARN string) string {
	return attachmentARN[strings.LastIndexByte(attachmentARN, '/')+1:]
}

// show adds the interface to what users see of the task.
func (e *eni) show(v *api.Task) {
	id := idOf(e.Interface.AttachmentARN)
	a := api.Attachment{ID: id, Type: "ElasticNetworkInterface", Status: e.Status, Details: []api.KeyValue{
		{Name: "subnetId", Value: e.Subnet}, {Name: "networkInterfaceId", Value: e.Interface.EC2ID},
		{Name: "macAddress", Value: e.Interface.MAC}, {Name: "privateDnsName", Value: e.Interface.DNSName},
	}}
	shown := api.NetworkInterface{AttachmentID: id}
	if len(e.Interface.IPv4) > 0 {
		shown.IPv4Address = e.Interface.IPv4[0].Address
		a.Details = append(a.Details, api.KeyValue{Name: "privateIPv4Address", Value: shown.IPv4Address})
	}
	if len(e.Interface.IPv6) > 0 {
		shown.IPv6Address = e.Interface.IPv6[0].Address
	}
	v.Attachments = append(slices.Clone(v.Attachments), a)
	if e.Status == eniAttaching {
		return
	}
	for i := range v.Containers {
		v.Containers[i].NetworkInterfaces = []api.NetworkInterface{shown}
	}
}

// place is the address of the IPv4 subnet that the interface has, or counts as.
func (e *eni) place() (netip.Addr, bool) {
	mac, err := net.ParseMAC(e.Interface.MAC)
	if err != nil || len(mac) != 6 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(mac[2:])), true
}

// usedAddresses are those of tasks that have not stopped.
func (st *state) usedAddresses() map[netip.Addr]bool {
	used := map[netip.Addr]bool{}
	for _, in := range st.instances {
		for _, tk := range in.tasks {
			if tk.ENI == nil {
				continue
			}
			if a, ok := tk.ENI.place(); ok {
				used[a] = true
			}
		}
	}
	return used
}

// firstTaskHost leaves the first addresses of the subnet alone, as a VPC does.
const firstTaskHost = 4

// capacity is how many tasks a subnet has addresses for.
func capacity(p netip.Prefix) int {
	hosts := 1 << min(16, p.Addr().BitLen()-p.Bits())
	return max(0, hosts-firstTaskHost-1)
}

// freeInterfaces is how many interfaces tasks can still get.
func (s *Service) freeInterfaces() int {
	if s.opts.VPC == nil {
		return 0
	}
	return capacity(s.opts.VPC.Subnet()) - len(s.state.usedAddresses())
}

// newInterface chooses a task's interface. Addresses go round, so that one is not used
// again while neighbours still know it as another's.
func (s *Service) newInterface(taskID, cluster string) (*eni, error) {
	subnet := s.opts.VPC.Subnet()
	used, n := s.state.usedAddresses(), capacity(subnet)
	next := s.state.newestHost(subnet) - firstTaskHost + 1
	for i := range n {
		address := hostOf(subnet, firstTaskHost+(max(0, next)+i)%n)
		if used[address] || address == subnet.Addr() {
			continue
		}
		return &eni{
			Subnet: localSubnet, Status: eniAttaching, Until: s.opts.Now().Add(s.opts.AttachWait),
			Interface: s.interfaceAt(address, s.arn("attachment", cluster, uuid.NewString()), "eni-"+taskID[:17]),
		}, nil
	}
	return nil, api.Errorf(api.ServerException, "No address is left in subnet %s.", subnet)
}

// interfaceAt is the interface with an address of the subnet, and the same of the IPv6
// subnet.
func (s *Service) interfaceAt(address netip.Addr, attachment, id string) wire.NetworkInterface {
	b := address.As4()
	i := wire.NetworkInterface{AttachmentARN: attachment, EC2ID: id, MAC: fmt.Sprintf("06:ec:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])}
	if p := s.opts.VPC.Subnet6(); p.IsValid() {
		host := p.Masked().Addr().As16()
		copy(host[12:], b[:])
		i.IPv6, i.Gateway6 = []wire.IPv6Address{{Primary: true, Address: netip.AddrFrom16(host).String()}}, p.String()
	}
	if s.opts.VPC.IPv6Only() {
		i.DNSName = id + "." + s.opts.Region + ".compute.internal"
		return i
	}
	i.IPv4, i.Gateway = []wire.IPv4Address{{Primary: true, Address: address.String()}}, s.opts.VPC.Subnet().String()
	i.DNSName = fmt.Sprintf("ip-%d-%d-%d-%d.%s.compute.internal", b[0], b[1], b[2], b[3], s.opts.Region)
	return i
}

// newestHost is which address of the subnet the newest task got; 0 for none.
func (st *state) newestHost(subnet netip.Prefix) int {
	var newest int64
	host := 0
	for _, tk := range st.tasks {
		if tk.ENI == nil || tk.Seq <= newest {
			continue
		}
		if a, ok := tk.ENI.place(); ok && subnet.Contains(a) {
			newest, host = tk.Seq, int(number(a)-number(subnet.Masked().Addr()))
		}
	}
	return host
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// hostOf is the n-th address of an IPv4 subnet.
func hostOf(p netip.Prefix, n int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], number(p.Masked().Addr())+uint32(n))
	return netip.AddrFrom4(b)
}

// Interfaces lists the MAC addresses of the interfaces that tasks have.
func (s *Service) Interfaces() []string {
	var macs []string
	s.quietly(func(st *state) {
		for _, in := range st.instances {
			for _, tk := range in.tasks {
				if tk.ENI != nil {
					macs = append(macs, tk.ENI.Interface.MAC)
				}
			}
		}
	})
	return macs
}
