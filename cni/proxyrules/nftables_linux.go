package proxyrules

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// nft is the rules of a namespace through nftables.
type nft struct{ namespace int }

func (n nft) conn() (*nftables.Conn, error) { return nftables.New(nftables.WithNetNSFd(n.namespace)) }

func (s Set) table() *nftables.Table {
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: s.Name}
	if s.IPv6 {
		t.Family = nftables.TableFamilyIPv6
	}
	return t
}

// install replaces whatever there is of the table, in one step.
func (n nft) install(s Set) error {
	c, err := n.conn()
	if err != nil {
		return err
	}
	t := s.table()
	// To delete a table that is not there is an error; to add one that is, is not.
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	chains := map[string]*nftables.Chain{}
	for _, chain := range s.Chains {
		chains[chain.Name+string(chain.Table)] = c.AddChain(chain.nft(t))
	}
	for _, chain := range s.Chains {
		for _, r := range chain.Rules {
			for _, expressions := range r.expressions(s.IPv6) {
				c.AddRule(&nftables.Rule{Table: t, Chain: chains[chain.Name+string(chain.Table)], Exprs: expressions})
			}
		}
	}
	return c.Flush()
}

func (n nft) remove(s Set) error {
	c, err := n.conn()
	if err != nil {
		return err
	}
	c.AddTable(s.table())
	c.DelTable(s.table())
	return c.Flush()
}

// present reports whether the table has all chains with as many rules as it should.
func (n nft) present(s Set) error {
	c, err := n.conn()
	if err != nil {
		return err
	}
	t := s.table()
	for _, chain := range s.Chains {
		want := 0
		for _, r := range chain.Rules {
			want += len(r.expressions(s.IPv6))
		}
		got, err := c.GetRules(t, chain.nft(t))
		if err != nil {
			return fmt.Errorf("chain %s: %w", chain.Name, err)
		}
		if len(got) != want {
			return fmt.Errorf("chain %s has %d rules; want %d", chain.Name, len(got), want)
		}
	}
	return nil
}

// nft is the chain in the table. The built-in chains of iptables are base chains here,
// one for each of its tables, at the same priority.
func (c Chain) nft(t *nftables.Table) *nftables.Chain {
	n := &nftables.Chain{Name: c.Name, Table: t}
	switch c.Name {
	case Prerouting:
		n.Hooknum = nftables.ChainHookPrerouting
	case Output:
		n.Hooknum = nftables.ChainHookOutput
	default:
		return n
	}
	n.Name = string(c.Table) + "_" + c.Name
	switch {
	case c.Table == NAT:
		n.Type, n.Priority = nftables.ChainTypeNAT, nftables.ChainPriorityNATDest
	case c.Name == Output:
		n.Type, n.Priority = nftables.ChainTypeRoute, nftables.ChainPriorityMangle
	default:
		n.Type, n.Priority = nftables.ChainTypeFilter, nftables.ChainPriorityMangle
	}
	return n
}

// Data in the order that the kernel compares it.
const (
	ipv4Destination, ipv6Destination = 16, 24
	portDestination                  = 2
)

// expressions is the rule once for each port.
func (r Rule) expressions(ipv6 bool) [][]expr.Any {
	var common []expr.Any
	equal := func(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	if r.TCP {
		common = append(common, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP}))
	}
	if r.UID != nil {
		common = append(common, &expr.Meta{Key: expr.MetaKeySKUID, Register: 1}, equal(binaryutil.NativeEndian.PutUint32(*r.UID)))
	}
	if r.GID != nil {
		common = append(common, &expr.Meta{Key: expr.MetaKeySKGID, Register: 1}, equal(binaryutil.NativeEndian.PutUint32(*r.GID)))
	}
	notLocal := &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)}
	if r.SourceNotLocal {
		common = append(common, &expr.Fib{Register: 1, FlagSADDR: true, ResultADDRTYPE: true}, notLocal)
	}
	if r.TargetNotLocal {
		common = append(common, &expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, notLocal)
	}
	if r.To.IsValid() {
		common = append(common, destination(r.To)...)
	}
	if r.OwnSocket {
		common = append(common, &expr.Socket{Key: expr.SocketKeyWildcard, Register: 1}, equal([]byte{0}))
	}
	verdict := r.Verdict.expressions(ipv6)
	if len(r.Ports) == 0 {
		return [][]expr.Any{append(common, verdict...)}
	}
	var all [][]expr.Any
	for _, port := range r.Ports {
		one := append([]expr.Any{}, common...)
		one = append(one, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portDestination, Len: 2},
			equal(binaryutil.BigEndian.PutUint16(port)))
		all = append(all, append(one, verdict...))
	}
	return all
}

func destination(p netip.Prefix) []expr.Any {
	offset, size := uint32(ipv4Destination), uint32(4)
	if p.Addr().Is6() {
		offset, size = ipv6Destination, 16
	}
	e := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}
	if !p.IsSingleIP() {
		mask := make([]byte, size)
		for bit := range p.Bits() {
			mask[bit/8] |= 1 << (7 - bit%8)
		}
		e = append(e, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)})
	}
	return append(e, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

func (v Verdict) expressions(ipv6 bool) []expr.Any {
	var e []expr.Any
	family := uint32(unix.NFPROTO_IPV4)
	if ipv6 {
		family = unix.NFPROTO_IPV6
	}
	port := func(p uint16) expr.Any {
		return &expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(p)}
	}
	if v.TProxy != 0 {
		e = append(e, port(v.TProxy), &expr.TProxy{Family: byte(family), TableFamily: byte(family), RegPort: 1})
	}
	if v.Mark != 0 {
		e = append(e, &expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(v.Mark)},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1})
	}
	switch {
	case v.Redirect != 0:
		e = append(e, port(v.Redirect), &expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED})
	case v.Jump != "":
		e = append(e, &expr.Verdict{Kind: expr.VerdictJump, Chain: v.Jump})
	case v.Return:
		e = append(e, &expr.Verdict{Kind: expr.VerdictReturn})
	case v.Accept || v.TProxy != 0:
		e = append(e, &expr.Verdict{Kind: expr.VerdictAccept})
	}
	return e
}

// tables lists the names of the nftables tables of a family.
func (n nft) tables(ipv6 bool) (map[string]bool, error) {
	c, err := n.conn()
	if err != nil {
		return nil, err
	}
	all, err := c.ListTablesOfFamily(Set{IPv6: ipv6}.table().Family)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, t := range all {
		names[t.Name] = true
	}
	return names, nil
}
