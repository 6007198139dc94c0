package hostrules

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Bits of conntrack that the library has no names for.
const (
	ctStatusDNAT         = 1 << 5 // IPS_DST_NAT
	icmpPortUnreachable  = 3
	icmp6PortUnreachable = 4
	ifNameSize           = 16
	register             = 1
)

// expressions says a rule in the terms of the kernel. both is for a table of both
// families, where a rule of one has to ask for it.
func expressions(r *Rule, both bool) []expr.Any {
	m := &r.Match
	var e []expr.Any
	if both {
		e = append(e, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, equal([]byte{nfproto(r.IPv6)}))
	}
	if m.NotSource.IsValid() {
		e = append(e, address(m.NotSource, false, expr.CmpOpNeq)...)
	}
	if m.Destination.IsValid() {
		e = append(e, address(m.Destination, true, expr.CmpOpEq)...)
	}
	if m.In != "" {
		e = append(e, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register}, equal(ifName(m.In)))
	}
	if m.NotIn != "" {
		e = append(e, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: ifName(m.NotIn)})
	}
	if m.TCP {
		e = append(e,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, equal([]byte{unix.IPPROTO_TCP}),
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			equal(binary.BigEndian.AppendUint16(nil, m.Port)))
	}
	if m.NotEstablished {
		e = append(e, bits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED, expr.CmpOpEq)...)
		e = append(e, bits(expr.CtKeySTATUS, ctStatusDNAT, expr.CmpOpEq)...)
	}
	if m.Translated {
		e = append(e, bits(expr.CtKeySTATUS, ctStatusDNAT, expr.CmpOpNeq)...)
	}
	return append(e, verdict(r)...)
}

func verdict(r *Rule) []expr.Any {
	port := binary.BigEndian.AppendUint16(nil, r.To.Port())
	switch r.Verdict {
	case DNAT:
		return []expr.Any{
			&expr.Immediate{Register: register, Data: r.To.Addr().AsSlice()},
			&expr.Immediate{Register: register + 1, Data: port},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: register, RegProtoMin: register + 1},
		}
	case Redirect:
		return []expr.Any{&expr.Immediate{Register: register, Data: port}, &expr.Redir{RegisterProtoMin: register}}
	case Reject:
		code := uint8(icmpPortUnreachable)
		if r.IPv6 {
			code = icmp6PortUnreachable
		}
		return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}}
	case Drop:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	default:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	}
}

func equal(data []byte) *expr.Cmp {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}
}

func nfproto(ipv6 bool) byte {
	if ipv6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

func ifName(name string) []byte {
	padded := make([]byte, ifNameSize)
	copy(padded, name)
	return padded
}

// bits asks whether none (CmpOpEq) or any (CmpOpNeq) of some bits is set.
func bits(key expr.CtKey, mask uint32, op expr.CmpOp) []expr.Any {
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: key, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: zero},
		&expr.Cmp{Op: op, Register: register, Data: zero},
	}
}

// address compares an address of the network header with a prefix.
func address(p netip.Prefix, destination bool, op expr.CmpOp) []expr.Any {
	size := uint32(p.Addr().BitLen() / 8)
	offset := uint32(12) // of the source in an IPv4 header
	if p.Addr().Is6() {
		offset = 8
	}
	if destination {
		offset += size
	}
	e := []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
	if !p.IsSingleIP() {
		mask := make([]byte, size)
		for i := range p.Bits() {
			mask[i/8] |= 1 << (7 - i%8)
		}
		e = append(e, &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: size, Mask: mask, Xor: make([]byte, size)})
	}
	return append(e, &expr.Cmp{Op: op, Register: register, Data: p.Masked().Addr().AsSlice()})
}
