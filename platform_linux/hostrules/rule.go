package hostrules

import (
	"net/netip"
	"strconv"
	"strings"
)

// Table and Chain are named as iptables names them.
type (
	Table string
	Chain string
)

// The tables and chains in which rules stand.
const (
	NAT    Table = "nat"
	Filter Table = "filter"
	Mangle Table = "mangle"

	Prerouting  Chain = "PREROUTING"
	Input       Chain = "INPUT"
	Forward     Chain = "FORWARD"
	Output      Chain = "OUTPUT"
	Postrouting Chain = "POSTROUTING"
)

// Verdict is what becomes of a packet.
type Verdict string

// The verdicts.
const (
	Accept   Verdict = "ACCEPT"
	Drop     Verdict = "DROP"
	Reject   Verdict = "REJECT"
	DNAT     Verdict = "DNAT"
	Redirect Verdict = "REDIRECT"
)

// Mark is the comment of the rules that are additions of ours. R1 to R5 have none:
// they read as the official supervisor's do (docs/spec/03 section 5.11.3).
const Mark = "ecs-agent"

// Rule is one packet rule.
type Rule struct {
	// ID is R1 to R5 as in docs/spec/03 section 5.7.1, or a name of our own.
	ID      string
	Why     string
	IPv6    bool
	Table   Table
	Chain   Chain
	Insert  bool // at the top; else at the end
	Marked  bool // carries the comment
	NotNFT  bool // needless where rules have a table of their own
	Match   Match
	Verdict Verdict
	To      netip.AddrPort // of DNAT; of REDIRECT only the port
}

// Match is what a packet must be. The zero value of a field asks for nothing.
type Match struct {
	NotSource   netip.Prefix
	Destination netip.Prefix
	In, NotIn   string // interface it came through
	TCP         bool
	Port        uint16 // destination port, with TCP
	Translated  bool   // its destination was translated
	// NotEstablished is: neither part of a connection, nor related to one, nor
	// translated.
	NotEstablished bool
	NotLocalSource bool // the source is not an address of this host
}

// Place is where rules stand.
type Place struct {
	IPv6  bool
	Table Table
	Chain Chain
}

// Place returns where the rule stands.
func (r *Rule) Place() Place { return Place{r.IPv6, r.Table, r.Chain} }

// Args returns the rule as iptables-save prints it, without the chain.
func (r *Rule) Args() []string {
	m := &r.Match
	var args []string
	add := func(s ...string) { args = append(args, s...) }
	if m.NotSource.IsValid() {
		add("!", "-s", m.NotSource.String())
	}
	if m.Destination.IsValid() {
		add("-d", m.Destination.String())
	}
	if m.In != "" {
		add("-i", m.In)
	}
	if m.NotIn != "" {
		add("!", "-i", m.NotIn)
	}
	if m.TCP {
		add("-p", "tcp", "-m", "tcp", "--dport", strconv.Itoa(int(m.Port)))
	}
	if m.NotEstablished || m.Translated {
		add("-m", "conntrack")
	}
	if m.NotEstablished {
		add("!", "--ctstate", "RELATED,ESTABLISHED,DNAT")
	}
	if m.Translated {
		add("--ctstate", "DNAT")
	}
	if m.NotLocalSource {
		add("-m", "addrtype", "!", "--src-type", "LOCAL")
	}
	if r.Marked {
		add("-m", "comment", "--comment", Mark)
	}
	add("-j", string(r.Verdict))
	switch r.Verdict {
	case DNAT:
		add("--to-destination", r.To.String())
	case Redirect:
		add("--to-ports", strconv.Itoa(int(r.To.Port())))
	case Reject:
		if r.IPv6 {
			add("--reject-with", "icmp6-port-unreachable")
		} else {
			add("--reject-with", "icmp-port-unreachable")
		}
	}
	return args
}

// Command returns the command that would make the rule.
func (r *Rule) Command() string {
	program, op := "iptables", "-A"
	if r.IPv6 {
		program = "ip6tables"
	}
	if r.Insert {
		op = "-I"
	}
	return strings.Join(append([]string{program, "-w", "5", "-t", string(r.Table), op, string(r.Chain)}, r.Args()...), " ")
}

// key is the rule in a form in which options that stand in another order, as other
// releases of iptables print them, are equal.
func (r *Rule) key() string { return keyOf(r.Args()) }
