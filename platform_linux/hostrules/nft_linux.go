package hostrules

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// NFTables is the Runner that speaks to nftables over netlink.
type NFTables struct {
	// NetNS is the file descriptor of a network namespace; 0 is this process's own.
	NetNS int
	// IPTables is whether the host has iptables. Its chains are left alone: it cannot
	// read chains into which others wrote.
	IPTables bool
}

// Name implements Runner.
func (*NFTables) Name() string { return "nftables" }

func (n *NFTables) open() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithNetNSFd(n.NetNS))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, nil
}

// Check implements Runner.
func (n *NFTables) Check(_ context.Context, p *Plan) ([]Problem, error) {
	c, err := n.open()
	if err != nil {
		return nil, err
	}
	own, err := ownProblems(c, p)
	if err != nil {
		return nil, err
	}
	elsewhere := n.elsewhere()
	others, err := elsewhere.check(c, p)
	return append(own, others...), err
}

// Apply implements Runner. Our own tables are replaced in one transaction: there is no
// instant without them.
func (n *NFTables) Apply(_ context.Context, p *Plan) (changed bool, err error) {
	c, err := n.open()
	if err != nil {
		return false, err
	}
	problems, err := ownProblems(c, p)
	if err != nil {
		return false, err
	}
	if len(problems) > 0 {
		replaceOwn(c, p)
		if err := c.Flush(); err != nil {
			return false, fmt.Errorf("replace the tables %s of nftables: %w", TableName, err)
		}
	}
	elsewhere := n.elsewhere()
	inserted, err := elsewhere.apply(c, p)
	return len(problems) > 0 || inserted, err
}

func (n *NFTables) elsewhere() elsewhere { return elsewhere{leaveIPTables: n.IPTables} }

// ownFamilies are the families of our own tables.
var ownFamilies = []struct {
	family nftables.TableFamily
	ipv6   bool
	name   string
}{{nftables.TableFamilyIPv4, false, "ip"}, {nftables.TableFamilyIPv6, true, "ip6"}}

// ownProblems compares our own tables with the plan.
func ownProblems(c *nftables.Conn, p *Plan) (problems []Problem, err error) {
	for _, f := range ownFamilies {
		chains, err := c.ListChainsOfTableFamily(f.family)
		if err != nil {
			return nil, fmt.Errorf("list the chains of nftables: %w", err)
		}
		tables, err := c.ListTablesOfFamily(f.family)
		if err != nil {
			return nil, fmt.Errorf("list the tables of nftables: %w", err)
		}
		has := slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == TableName })
		rules := nftRules(p, f.ipv6)
		if len(rules) == 0 {
			if has {
				problems = append(problems, Problem{"", "left over: table " + f.name + " " + TableName})
			}
			continue
		}
		if !has {
			problems = append(problems, Problem{"", "missing: table " + f.name + " " + TableName})
			continue
		}
		found, err := chainProblems(c, p, f.ipv6, chains)
		if err != nil {
			return nil, err
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

// chainProblems compares the chains of our own table of one family.
func chainProblems(c *nftables.Conn, p *Plan, ipv6 bool, chains []*nftables.Chain) (problems []Problem, err error) {
	rules := nftRules(p, ipv6)
	for _, base := range nftBase {
		wanted := at(rules, Place{ipv6, base.table, base.chain})
		i := slices.IndexFunc(chains, func(ch *nftables.Chain) bool {
			return ch.Table.Name == TableName && ch.Name == nftChain(base.chain)
		})
		var have []*nftables.Rule
		if i >= 0 {
			if have, err = c.GetRules(chains[i].Table, chains[i]); err != nil {
				return nil, fmt.Errorf("list the rules of nftables: %w", err)
			}
		}
		same := len(have) == len(wanted) && (len(wanted) == 0 || chains[i].Hooknum != nil)
		for k := 0; same && k < len(wanted); k++ {
			same = commentOf(have[k]) == wanted[k].comment() && len(have[k].Exprs) == len(expressions(wanted[k], false))
		}
		if same {
			continue
		}
		for _, r := range wanted {
			if !slices.ContainsFunc(have, func(h *nftables.Rule) bool { return commentOf(h) == r.comment() }) {
				problems = append(problems, Problem{r.ID, "missing: " + describe(r)})
				same = true
			}
		}
		if !same {
			problems = append(problems, Problem{"", "changed: chain " + TableName + " " + nftChain(base.chain)})
		}
	}
	return problems, nil
}

func commentOf(r *nftables.Rule) string {
	text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return text
}

// replaceOwn queues the deletion of our own tables and their making.
func replaceOwn(c *nftables.Conn, p *Plan) {
	for _, f := range ownFamilies {
		rules := nftRules(p, f.ipv6)
		table := &nftables.Table{Name: TableName, Family: f.family}
		c.AddTable(table) // so that there is one to delete
		c.DelTable(table)
		if len(rules) == 0 {
			continue
		}
		c.AddTable(table)
		for _, base := range nftBase {
			found := at(rules, Place{f.ipv6, base.table, base.chain})
			if len(found) == 0 {
				continue
			}
			accept := nftables.ChainPolicyAccept
			chain := c.AddChain(&nftables.Chain{
				Name: nftChain(base.chain), Table: table, Type: nftables.ChainType(base.kind), Policy: &accept,
				Hooknum: hookOf(base.chain), Priority: nftables.ChainPriorityRef(nftables.ChainPriority(base.priority)),
			})
			for _, r := range found {
				c.AddRule(kernelRule(r, table, chain))
			}
		}
	}
}

func hookOf(c Chain) *nftables.ChainHook {
	switch c {
	case Prerouting:
		return nftables.ChainHookPrerouting
	case Input:
		return nftables.ChainHookInput
	case Forward:
		return nftables.ChainHookForward
	default:
		return nftables.ChainHookOutput
	}
}

func kernelRule(r *Rule, table *nftables.Table, chain *nftables.Chain) *nftables.Rule {
	return &nftables.Rule{
		Table: table, Chain: chain, Exprs: expressions(r, table.Family == nftables.TableFamilyINet),
		UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment()),
	}
}

// elsewhere is what is accepted in input chains of other people's tables, because one
// table's accept does not overrule another's drop.
type elsewhere struct {
	leaveIPTables bool
}

// foreign is an input chain that is not ours, with the rules in it that are.
type foreign struct {
	chain *nftables.Chain
	ours  []*nftables.Rule
	drops bool // some packets do not pass it
}

// accepts are the rules of a plan that a chain of a family needs.
func accepts(p *Plan, family nftables.TableFamily) (rules []*Rule) {
	for i := range p.Rules {
		r := &p.Rules[i]
		fits := family == nftables.TableFamilyINet || (family == nftables.TableFamilyIPv6) == r.IPv6
		if r.Verdict == Accept && r.Chain == Input && fits {
			rules = append(rules, r)
		}
	}
	return rules
}

// wanted are the rules that the chain must have from us.
func (f *foreign) wanted(p *Plan) []*Rule {
	if !f.drops {
		return nil
	}
	return accepts(p, f.chain.Table.Family)
}

func (f *foreign) agrees(p *Plan) bool {
	wanted := f.wanted(p)
	if len(wanted) != len(f.ours) {
		return false
	}
	for _, r := range wanted {
		if !slices.ContainsFunc(f.ours, func(h *nftables.Rule) bool { return commentOf(h) == r.comment() }) {
			return false
		}
	}
	return true
}

func (f *foreign) name() string {
	family := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet"}
	return family[f.chain.Table.Family] + " " + f.chain.Table.Name + " " + f.chain.Name
}

func (e elsewhere) check(c *nftables.Conn, p *Plan) (problems []Problem, err error) {
	chains, err := e.chains(c)
	for _, f := range chains {
		if !f.agrees(p) {
			problems = append(problems, Problem{"accept-tasks", "not accepted as it should be: chain " + f.name()})
		}
	}
	return problems, err
}

func (e elsewhere) apply(c *nftables.Conn, p *Plan) (changed bool, err error) {
	chains, err := e.chains(c)
	if err != nil {
		return false, err
	}
	var failures []error
	for _, f := range chains {
		if f.agrees(p) {
			continue
		}
		for _, r := range f.ours {
			if err := c.DelRule(r); err != nil {
				failures = append(failures, err)
			}
		}
		for _, r := range f.wanted(p) {
			c.InsertRule(kernelRule(r, f.chain.Table, f.chain))
		}
		switch err := c.Flush(); {
		case errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EPERM):
			failures = append(failures, fmt.Errorf("chain %s lets only its owner change it; make it accept tcp port %d to 127.0.0.1: %w", f.name(), TaskPort, err))
		case err != nil:
			failures = append(failures, fmt.Errorf("change the chain %s: %w", f.name(), err))
		default:
			changed = true
		}
	}
	return changed, errors.Join(failures...)
}

// chains lists the input chains of others.
func (e elsewhere) chains(c *nftables.Conn) (found []foreign, err error) {
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet} {
		chains, err := c.ListChainsOfTableFamily(family)
		if err != nil {
			return nil, fmt.Errorf("list the chains of nftables: %w", err)
		}
		for _, ch := range chains {
			if ch.Table.Name == TableName || ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookInput ||
				ch.Type != nftables.ChainTypeFilter || e.leaveIPTables && ofIPTables(ch) {
				continue
			}
			f, err := look(c, ch, chains)
			if err != nil {
				return nil, err
			}
			found = append(found, f)
		}
	}
	return found, nil
}

// ofIPTables reports whether iptables made the chain.
func ofIPTables(ch *nftables.Chain) bool {
	return ch.Table.Family != nftables.TableFamilyINet && ch.Name == string(Input) && strings.ToLower(ch.Table.Name) == ch.Table.Name &&
		slices.Contains([]string{"filter", "mangle", "security", "nat", "raw"}, ch.Table.Name)
}

// look reads a chain, and those it leads to, for what drops.
func look(c *nftables.Conn, ch *nftables.Chain, all []*nftables.Chain) (foreign, error) {
	f := foreign{chain: ch, drops: ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop}
	seen := map[string]bool{ch.Name: true}
	for queue := []*nftables.Chain{ch}; len(queue) > 0; queue = queue[1:] {
		rules, err := c.GetRules(queue[0].Table, queue[0])
		if err != nil {
			return f, fmt.Errorf("list the rules of nftables: %w", err)
		}
		for _, r := range rules {
			if queue[0] == ch && strings.HasPrefix(commentOf(r), Mark+" ") {
				f.ours = append(f.ours, r)
				continue
			}
			for _, name := range leadsTo(r, &f.drops) {
				i := slices.IndexFunc(all, func(o *nftables.Chain) bool { return o.Table.Name == ch.Table.Name && o.Name == name })
				if i >= 0 && !seen[name] {
					seen[name] = true
					queue = append(queue, all[i])
				}
			}
		}
	}
	return f, nil
}

// leadsTo lists the chains a rule goes to, and notes whether it drops.
func leadsTo(r *nftables.Rule, drops *bool) (chains []string) {
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Lookup:
			*drops = *drops || e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT // a map of verdicts
		case *expr.Reject:
			*drops = true
		case *expr.Verdict:
			switch e.Kind {
			case expr.VerdictDrop:
				*drops = true
			case expr.VerdictJump, expr.VerdictGoto:
				chains = append(chains, e.Chain)
			}
		}
	}
	return chains
}
