package hostrules

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/nftables"
)

// Means are how the host is reached.
type Means struct {
	Exec     Exec
	LookPath func(program string) (string, error)
	// NetNS is the file descriptor of a network namespace; 0 is this process's own.
	NetNS int
}

// System are the means of this process.
func System() Means { return Means{Exec: Command, LookPath: exec.LookPath} }

func (m Means) has(program string) bool {
	_, err := m.LookPath(program)
	return err == nil
}

// Facts finds out what the host uses.
func (m Means) Facts(ctx context.Context) Facts {
	f := Facts{IPTables: m.has("iptables-save") && m.has("iptables-restore"), IPTablesLegacy: m.has("iptables-legacy-save")}
	n := NFTables{NetNS: m.NetNS}
	if c, err := n.open(); err == nil {
		chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
		f.NFTables = err == nil
		f.KernelRules = slices.ContainsFunc(chains, madeByIPTables)
	}
	legacy := "iptables-legacy-save"
	if !f.IPTablesLegacy {
		legacy = "iptables-save"
		if f.KernelRules || !f.IPTables || !m.legacyVariant(ctx) {
			return f
		}
	}
	text, err := m.Exec(ctx, "", legacy)
	f.LegacyRules = err == nil && strings.Contains(text, "\n-A ")
	return f
}

// legacyVariant reports whether iptables itself writes to the kernel's older tables.
func (m Means) legacyVariant(ctx context.Context) bool {
	text, err := m.Exec(ctx, "", "iptables", "--version")
	return err == nil && !strings.Contains(text, "nf_tables")
}

// madeByIPTables reports whether a chain is one of those that iptables makes in
// nftables.
func madeByIPTables(ch *nftables.Chain) bool {
	return ch.Hooknum != nil && slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, ch.Table.Name) &&
		slices.Contains([]Chain{Prerouting, Input, Forward, Output, Postrouting}, Chain(ch.Name))
}

// Runner makes the runner of a backend.
func (m Means) Runner(ctx context.Context, b Backend) (Runner, error) {
	facts := m.Facts(ctx)
	if b == Auto || b == "" {
		var err error
		if b, err = Choose(facts); err != nil {
			return nil, err
		}
	}
	nft := &NFTables{NetNS: m.NetNS, IPTables: facts.IPTables}
	switch b {
	case NFT:
		if !facts.NFTables {
			return nil, errors.New("the kernel does not answer for nftables")
		}
		if !facts.IPTables {
			return nft, nil
		}
		return &nftAfterIPTables{NFTables: nft, old: &IPTables{Exec: m.Exec, NoIPv6: !m.has("ip6tables-save")}}, nil
	case IPT, IPLegacy:
		if !facts.IPTables {
			return nil, errors.New("iptables-save and iptables-restore are not in PATH")
		}
		if b == IPLegacy && !facts.IPTablesLegacy {
			return nil, errors.New("iptables-legacy-save is not in PATH")
		}
		t := &IPTables{Exec: m.Exec, Legacy: b == IPLegacy}
		t.NoIPv6 = !m.has(t.program(true, "-save"))
		if !facts.NFTables {
			return t, nil
		}
		return &both{IPTables: t, nft: nft}, nil
	}
	return nil, fmt.Errorf("no such backend: %q", b)
}

// Remove takes the rules of a plan away, whichever backend made them.
func (m Means) Remove(ctx context.Context, p Plan) error {
	p = p.WithoutAll()
	return m.each(ctx, func(r Runner) error {
		_, err := r.Apply(ctx, &p)
		return err
	})
}

// each calls do with the runner of every backend by which rules may have been made, and
// goes on when it fails.
func (m Means) each(ctx context.Context, do func(Runner) error) error {
	facts := m.Facts(ctx)
	var runners []Runner
	if facts.IPTables {
		runners = append(runners, &IPTables{Exec: m.Exec, NoIPv6: !m.has("ip6tables-save")})
	}
	if facts.IPTablesLegacy && facts.LegacyRules {
		runners = append(runners, &IPTables{Exec: m.Exec, Legacy: true, NoIPv6: !m.has("ip6tables-legacy-save")})
	}
	if facts.NFTables {
		runners = append(runners, &NFTables{NetNS: m.NetNS, IPTables: facts.IPTables})
	}
	var failures []error
	for _, r := range runners {
		if err := do(r); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", r.Name(), err))
		}
	}
	return errors.Join(failures...)
}

// both is iptables on a host whose nftables other programs may use as well: what must
// be accepted is accepted in their input chains too.
type both struct {
	*IPTables
	nft *NFTables
}

// Check implements Runner.
func (b *both) Check(ctx context.Context, p *Plan) ([]Problem, error) {
	problems, err := b.IPTables.Check(ctx, p)
	if err != nil {
		return nil, err
	}
	c, err := b.nft.open()
	if err != nil {
		return nil, err
	}
	own, err := ownProblems(c, &Plan{})
	if err != nil {
		return nil, err
	}
	others, err := elsewhere{leaveIPTables: true}.check(c, p)
	return slices.Concat(problems, own, others), err
}

// Apply implements Runner.
func (b *both) Apply(ctx context.Context, p *Plan) (bool, error) {
	changed, err := b.IPTables.Apply(ctx, p)
	c, openErr := b.nft.open()
	if openErr != nil {
		return changed, errors.Join(err, openErr)
	}
	left, ownErr := ownProblems(c, &Plan{})
	if len(left) > 0 { // of a time when nftables was the backend
		replaceOwn(c, &Plan{})
		ownErr = c.Flush()
	}
	inserted, otherErr := elsewhere{leaveIPTables: true}.apply(c, p)
	return changed || inserted || len(left) > 0, errors.Join(err, ownErr, otherErr)
}

// nftAfterIPTables is nftables on a host that has iptables too: rules of a time when
// that was the backend go at the first change.
type nftAfterIPTables struct {
	*NFTables
	old     *IPTables
	cleaned bool
}

// Apply implements Runner.
func (n *nftAfterIPTables) Apply(ctx context.Context, p *Plan) (bool, error) {
	changed, err := n.NFTables.Apply(ctx, p)
	if !n.cleaned && err == nil {
		gone := p.WithoutAll()
		var removed bool
		removed, err = n.old.Apply(ctx, &gone)
		changed, n.cleaned = changed || removed, err == nil
	}
	return changed, err
}
