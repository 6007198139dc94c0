package hostrules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Routes changes the host's routing table.
type Routes struct {
	NetNS int // file descriptor; 0 is this process's own namespace
}

// Apply makes the plan's route, if it has one.
func (r Routes) Apply(p *Plan) error {
	if p.Route == "" {
		return nil
	}
	return r.send(unix.RTM_NEWROUTE, netlink.Create|netlink.Replace, p.Route)
}

// Undo deletes the plan's route.
func (r Routes) Undo(p *Plan) error {
	if p.Route == "" {
		return nil
	}
	err := r.send(unix.RTM_DELROUTE, 0, p.Route)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// send makes or deletes "169.254.170.2/32 dev NAME scope link".
func (r Routes) send(kind netlink.HeaderType, flags netlink.HeaderFlags, device string) error {
	fail := func(err error) error { return fmt.Errorf("route %s over %s: %w", taskAddress, device, err) }
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: r.NetNS})
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	index, err := linkIndex(conn, device)
	if err != nil {
		return fail(err)
	}
	message := []byte{
		unix.AF_INET, 32, 0, 0, // family, lengths of destination and source, type of service
		unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_LINK, unix.RTN_UNICAST,
		0, 0, 0, 0, // flags
	}
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.RTA_DST, Data: taskAddress.AsSlice()},
		{Type: unix.RTA_OIF, Data: binary.NativeEndian.AppendUint32(nil, index)},
	})
	if err != nil {
		return fail(err)
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(message, attributes...),
	})
	if err != nil {
		return fail(err)
	}
	return nil
}

// linkIndex finds an interface in the namespace of the connection.
func linkIndex(conn *netlink.Conn, name string) (uint32, error) {
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.IFLA_IFNAME, Data: append([]byte(name), 0)}})
	if err != nil {
		return 0, err
	}
	found, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request},
		Data:   append(make([]byte, unix.SizeofIfInfomsg), attributes...),
	})
	if err != nil {
		return 0, err
	}
	if len(found) == 0 || len(found[0].Data) < 8 {
		return 0, &net.OpError{Op: "find", Net: "interface", Err: errors.New("no answer")}
	}
	return binary.NativeEndian.Uint32(found[0].Data[4:]), nil
}
