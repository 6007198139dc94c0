package proxyrules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// line is a rule as iptables-save prints it, once for each block of ports.
func (r Rule) lines(chain string, ipv6 bool) []string {
	var b strings.Builder
	b.WriteString("-A " + chain)
	if r.To.IsValid() {
		fmt.Fprintf(&b, " -d %s", r.To.Masked())
	}
	if r.TCP {
		b.WriteString(" -p tcp")
	}
	if r.SourceNotLocal {
		b.WriteString(" -m addrtype ! --src-type LOCAL")
	}
	if r.TargetNotLocal {
		b.WriteString(" -m addrtype ! --dst-type LOCAL")
	}
	if r.UID != nil {
		fmt.Fprintf(&b, " -m owner --uid-owner %d", *r.UID)
	}
	if r.GID != nil {
		fmt.Fprintf(&b, " -m owner --gid-owner %d", *r.GID)
	}
	if r.OwnSocket {
		b.WriteString(" -m socket")
	}
	head, tail := b.String(), r.Verdict.target(ipv6)
	if len(r.Ports) == 0 {
		return []string{head + tail}
	}
	var all []string
	// The match takes 15 ports.
	for block := range slices.Chunk(r.Ports, 15) {
		if len(block) == 1 {
			all = append(all, head+" -m tcp --dport "+strconv.Itoa(int(block[0]))+tail)
			continue
		}
		ports := make([]string, len(block))
		for i, p := range block {
			ports[i] = strconv.Itoa(int(p))
		}
		all = append(all, head+" -m multiport --dports "+strings.Join(ports, ",")+tail)
	}
	return all
}

func (v Verdict) target(ipv6 bool) string {
	switch {
	case v.Redirect != 0:
		return fmt.Sprintf(" -j REDIRECT --to-ports %d", v.Redirect)
	case v.TProxy != 0:
		any := "0.0.0.0"
		if ipv6 {
			any = "::"
		}
		return fmt.Sprintf(" -j TPROXY --on-port %d --on-ip %s --tproxy-mark 0x%x/0x%x", v.TProxy, any, v.Mark, v.Mark)
	case v.Mark != 0:
		return fmt.Sprintf(" -j MARK --set-xmark 0x%x/0xffffffff", v.Mark)
	case v.Jump != "":
		return " -j " + v.Jump
	case v.Return:
		return " -j RETURN"
	case v.Accept:
		return " -j ACCEPT"
	}
	return ""
}

// byTable are the set's chains, of the two tables in their order.
func (s Set) byTable(f func(Table, []Chain)) {
	for _, table := range []Table{Mangle, NAT} {
		var chains []Chain
		for _, c := range s.Chains {
			if c.Table == table {
				chains = append(chains, c)
			}
		}
		if len(chains) > 0 {
			f(table, chains)
		}
	}
}

func builtin(chain string) bool { return chain == Prerouting || chain == Output }

// restore is the input of iptables-restore --noflush that installs the set, or removes
// it, whatever of it is among the saved rules of iptables-save. It is empty when there
// is nothing to do.
func (s Set) restore(saved string, install bool) string {
	var b strings.Builder
	s.byTable(func(table Table, chains []Chain) {
		have := section(saved, table)
		var before, chainLines, after []string
		for _, c := range chains {
			var want []string
			for _, r := range c.Rules {
				want = append(want, r.lines(c.Name, s.IPv6)...)
			}
			if builtin(c.Name) {
				// Only the lines of this set: others may have theirs in the chain.
				for _, line := range have {
					if slices.Contains(want, line) || s.jumps(line, c.Name) {
						before = append(before, "-D"+strings.TrimPrefix(line, "-A"))
					}
				}
			} else if install || slices.ContainsFunc(have, func(l string) bool { return strings.HasPrefix(l, ":"+c.Name+" ") }) {
				// Makes the chain, or empties it.
				chainLines = append(chainLines, ":"+c.Name+" - [0:0]")
				if !install {
					after = append(after, "-X "+c.Name)
				}
			}
			if install {
				after = append(after, want...)
			}
		}
		if len(before)+len(chainLines)+len(after) == 0 {
			return
		}
		fmt.Fprintf(&b, "*%s\n", table)
		for _, lines := range [][]string{chainLines, before, after} {
			for _, line := range lines {
				b.WriteString(line + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	})
	return b.String()
}

// jumps reports whether a saved line of a built-in chain leads to a chain of the set.
func (s Set) jumps(line, chain string) bool {
	if !strings.HasPrefix(line, "-A "+chain+" ") {
		return false
	}
	for _, c := range s.Chains {
		if !builtin(c.Name) && strings.HasSuffix(line, " -j "+c.Name) {
			return true
		}
	}
	return false
}

// missing is a line of the set that is not among the saved ones; "" when all are.
func (s Set) missing(saved string) string {
	var missing string
	s.byTable(func(table Table, chains []Chain) {
		have := section(saved, table)
		for _, c := range chains {
			for _, r := range c.Rules {
				for _, line := range r.lines(c.Name, s.IPv6) {
					if missing == "" && !slices.Contains(have, line) {
						missing = line
					}
				}
			}
		}
	})
	return missing
}

// section is the lines of one table in the output of iptables-save.
func section(saved string, table Table) []string {
	var lines []string
	in := false
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			in = line == "*"+string(table)
		case in:
			lines = append(lines, line)
		}
	}
	return lines
}
