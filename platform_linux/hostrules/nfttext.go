package hostrules

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// TableName is the name of our own tables with nftables, one for each family.
const TableName = "ecs-agent"

// nftChain is where a rule stands in our own nftables table.
func nftChain(c Chain) string { return strings.ToLower(string(c)) }

// NFT returns the rule in the language of nft.
func (r *Rule) NFT() string {
	m := &r.Match
	ip := "ip"
	if r.IPv6 {
		ip = "ip6"
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if m.NotSource.IsValid() {
		add("%s saddr != %s", ip, m.NotSource)
	}
	if m.Destination.IsValid() {
		text := m.Destination.String()
		if m.Destination.IsSingleIP() {
			text = m.Destination.Addr().String()
		}
		add("%s daddr %s", ip, text)
	}
	if m.In != "" {
		add("iifname %q", m.In)
	}
	if m.NotIn != "" {
		add("iifname != %q", m.NotIn)
	}
	if m.TCP {
		add("tcp dport %d", m.Port)
	}
	if m.NotEstablished {
		add("ct state ! established,related ct status ! dnat")
	}
	if m.Translated {
		add("ct status dnat")
	}
	switch r.Verdict {
	case DNAT:
		add("dnat to %s", r.To)
	case Redirect:
		add("redirect to :%d", r.To.Port())
	default:
		add("%s", strings.ToLower(string(r.Verdict)))
	}
	return strings.Join(parts, " ")
}

// comment names a rule of ours and its content, so that one of another plan is told
// from it.
func (r *Rule) comment() string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.NFT()))
	return Mark + " " + r.ID + " " + strconv.FormatUint(uint64(h.Sum32()), 16)
}

// nftRules are the rules of a plan that stand in our own table of a family.
func nftRules(p *Plan, ipv6 bool) (rules []Rule) {
	for _, r := range p.Rules {
		if r.IPv6 == ipv6 && !r.NotNFT {
			rules = append(rules, r)
		}
	}
	return rules
}

// Script returns the plan in the language of nft: our own tables, whole.
func (p *Plan) Script() string {
	var out strings.Builder
	for _, ipv6 := range []bool{false, true} {
		rules := nftRules(p, ipv6)
		if len(rules) == 0 {
			continue
		}
		family := "ip"
		if ipv6 {
			family = "ip6"
		}
		fmt.Fprintf(&out, "table %s %s {\n", family, TableName)
		for _, c := range nftBase {
			found := at(rules, Place{ipv6, c.table, c.chain})
			if len(found) == 0 {
				continue
			}
			fmt.Fprintf(&out, "\tchain %s {\n\t\ttype %s hook %[1]s priority %[3]d; policy accept;\n", nftChain(c.chain), c.kind, c.priority)
			for _, r := range found {
				fmt.Fprintf(&out, "\t\t%s comment %q\n", r.NFT(), r.comment())
			}
			out.WriteString("\t}\n")
		}
		out.WriteString("}\n")
	}
	return out.String()
}

// nftBase are the chains of our own tables. Ours come before the host's filters, so
// that what they refuse is refused whatever those accept.
var nftBase = []struct {
	table    Table
	chain    Chain
	kind     string
	priority int
}{
	{NAT, Prerouting, "nat", -100},
	{Filter, Input, "filter", -10},
	{Filter, Forward, "filter", -10},
	{NAT, Output, "nat", -100},
}
