package hostrules

import (
	"cmp"
	"net/netip"
	"slices"
)

// The addresses and ports of the path (docs/spec/04 section 0.1, 2.7).
const (
	// TaskPort is the port of the credentials and metadata server, on loopback only.
	TaskPort = 51679
	// IntrospectionPort is the port of the introspection server.
	IntrospectionPort = 51678
	// Loopback is the usual name of the loopback interface.
	Loopback = "lo"
	taskWeb  = 80
)

var (
	taskAddress = netip.AddrFrom4([4]byte{169, 254, 170, 2})
	loopback4   = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopbackNet = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 0}), 8)
	// metadata4 and metadata6 are where EC2 instances find their metadata.
	metadata4 = netip.AddrFrom4([4]byte{169, 254, 169, 254})
	metadata6 = netip.MustParseAddr("fd00:ec2::254")
)

// Options decide about a plan.
type Options struct {
	// TaskPort and IntrospectionPort are, zero, the usual ones.
	TaskPort          uint16
	IntrospectionPort uint16
	// Loopback is the loopback interface; empty: lo.
	Loopback string
	// Bridge is the interface of Docker's default bridge network; empty: there is
	// none.
	Bridge string
	// Uplinks are the interfaces that lead out of the host, not to containers.
	Uplinks []string
	// IPv6 is whether the kernel has IPv6.
	IPv6 bool
	// SkipLocalhostFilter leaves out what protects loopback
	// (ECS_SKIP_LOCALHOST_TRAFFIC_FILTER).
	SkipLocalhostFilter bool
	// OffhostIntrospection opens introspection to other hosts
	// (ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS).
	OffhostIntrospection bool
	// BlockMetadata keeps instance metadata from tasks with network mode bridge
	// (ECS_BRIDGE_BLOCK_IMDS).
	BlockMetadata bool
	// LoopbackRoute is whether the host lacks an IPv4 default route, so that
	// 169.254.170.2 needs a route of its own.
	LoopbackRoute bool
}

// Plan is what the host must have.
type Plan struct {
	// Rules in the order in which they are made.
	Rules []Rule
	// Gone are rules that this or an earlier plan may have made and that must not be
	// there now.
	Gone    []Rule
	Sysctls []Sysctl
	// Route is 169.254.170.2/32 over this interface; empty: none.
	Route string
}

// Sysctl is a kernel setting.
type Sysctl struct {
	Key   string // with slashes, below /proc/sys
	Value string
	// After is what it becomes when the plan is undone: the value of that key; empty:
	// it stays.
	After string
	// Optional says that a missing key is fine.
	Optional bool
}

// Build makes the plan.
func Build(o Options) Plan {
	o.TaskPort = cmp.Or(o.TaskPort, TaskPort)
	o.IntrospectionPort = cmp.Or(o.IntrospectionPort, IntrospectionPort)
	if o.Loopback == "" {
		o.Loopback = Loopback
	}
	var p Plan
	put := func(wanted bool, rules ...Rule) {
		if wanted {
			p.Rules = append(p.Rules, rules...)
		} else {
			p.Gone = append(p.Gone, rules...)
		}
	}
	task := Match{Destination: netip.PrefixFrom(taskAddress, 32), TCP: true, Port: taskWeb}
	server := netip.AddrPortFrom(loopback4, o.TaskPort)
	put(true, Rule{ID: "R1", Why: "tasks reach credentials and metadata", Table: NAT, Chain: Prerouting,
		Match: task, Verdict: DNAT, To: server})
	if !o.SkipLocalhostFilter { // else an operator's own rule of this form is not ours to remove
		put(true, Rule{ID: "R2", Why: "other hosts do not reach loopback", Table: Filter, Chain: Input, Insert: true,
			Match:   Match{NotSource: loopbackNet, Destination: loopbackNet, NotEstablished: true},
			Verdict: Drop})
	}
	put(!o.OffhostIntrospection, introspection(o)...)
	put(true, Rule{ID: "R5", Why: "processes and host tasks reach credentials and metadata", Table: NAT, Chain: Output,
		Match: task, Verdict: Redirect, To: server})
	put(true, Rule{ID: "accept-tasks", Why: "holds where INPUT drops by default", Table: Filter, Chain: Input, Insert: true, Marked: true,
		Match:   Match{Destination: netip.PrefixFrom(loopback4, 32), TCP: true, Port: o.TaskPort, Translated: true},
		Verdict: Accept})
	for _, uplink := range o.Uplinks {
		if uplink == o.Bridge {
			continue // containers come through it
		}
		put(!o.SkipLocalhostFilter, Rule{ID: "drop-offhost", Why: "other hosts do not reach credentials and metadata", Table: Filter, Chain: Input,
			Insert: true, Marked: true, Match: Match{In: uplink, TCP: true, Port: o.TaskPort},
			Verdict: Drop})
	}
	put(o.BlockMetadata, metadata(o.IPv6)...)
	p.Sysctls = []Sysctl{{Key: "net/ipv4/conf/all/route_localnet", Value: "1", After: "net/ipv4/conf/default/route_localnet"}}
	if o.Bridge != "" {
		p.Sysctls = append(p.Sysctls, Sysctl{Key: "net/ipv6/conf/" + o.Bridge + "/accept_ra", Value: "0", Optional: true})
	}
	if o.LoopbackRoute {
		p.Route = o.Loopback
	}
	return p
}

// introspection are R3 and R4, for each family.
func introspection(o Options) (rules []Rule) {
	for _, v6 := range families(o.IPv6) {
		rules = append(rules, Rule{ID: "R3", Why: "other hosts do not reach introspection", IPv6: v6, Table: Filter, Chain: Input, Insert: true,
			Match: Match{NotIn: o.Loopback, TCP: true, Port: o.IntrospectionPort}, Verdict: Drop})
	}
	for _, v6 := range families(o.IPv6) {
		if o.Bridge != "" {
			rules = append(rules, Rule{ID: "R4", Why: "the default bridge reaches introspection", IPv6: v6, Table: Filter, Chain: Input, Insert: true,
				Match: Match{In: o.Bridge, TCP: true, Port: o.IntrospectionPort}, Verdict: Accept})
		}
	}
	return rules
}

// metadata keeps instance metadata from what is forwarded, which the host's own
// requests never are. The refusal makes clients give up at once. Docker puts rules
// that accept above it whenever it starts; the drop behind them lets nothing through.
func metadata(ipv6 bool) (rules []Rule) {
	for _, v6 := range families(ipv6) {
		to := netip.PrefixFrom(metadata4, 32)
		if v6 {
			to = netip.PrefixFrom(metadata6, 128)
		}
		rules = append(rules,
			Rule{ID: "refuse-imds", Why: "tasks do not reach instance metadata", IPv6: v6, Table: Filter, Chain: Forward, Insert: true, Marked: true,
				Match: Match{Destination: to}, Verdict: Reject},
			Rule{ID: "drop-imds", Why: "the same, whatever accepts it before", IPv6: v6, Table: Mangle, Chain: Postrouting, Marked: true, NotNFT: true,
				Match: Match{Destination: to, NotLocalSource: true}, Verdict: Drop})
	}
	return rules
}

func families(ipv6 bool) []bool {
	if ipv6 {
		return []bool{false, true}
	}
	return []bool{false}
}

// places lists where rules of the plan stand or may stand, each once.
func (p *Plan) places() (places []Place) {
	for _, rules := range [][]Rule{p.Rules, p.Gone} {
		for i := range rules {
			if at := rules[i].Place(); !slices.Contains(places, at) {
				places = append(places, at)
			}
		}
	}
	return places
}

// at returns the rules of one place from its top to its end.
func at(rules []Rule, place Place) (found []*Rule) {
	for i := range rules {
		if r := &rules[i]; r.Place() == place {
			if r.Insert {
				found = slices.Insert(found, 0, r)
			} else {
				found = append(found, r)
			}
		}
	}
	return found
}

// WithoutAll turns the plan into one that undoes everything of it.
func (p Plan) WithoutAll() Plan {
	return Plan{Gone: slices.Concat(p.Rules, p.Gone), Sysctls: p.Sysctls, Route: p.Route}
}
