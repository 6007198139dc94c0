package hostrules

import (
	"slices"
	"strings"
)

// saved are the rules of one family as iptables-save printed them.
type saved map[Place][]savedRule

type savedRule struct {
	line   string // after "-A CHAIN ", as printed
	key    string
	marked bool
}

// parseSaved reads what iptables-save prints. Lines of chains that are none of
// iptables' own are passed over: nothing of ours is there.
func parseSaved(text string, ipv6 bool) saved {
	s := make(saved)
	var table Table
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = Table(name)
			continue
		}
		rest, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		chain, args, _ := strings.Cut(rest, " ")
		switch Chain(chain) {
		case Prerouting, Input, Forward, Output, Postrouting:
			place := Place{ipv6, table, Chain(chain)}
			words := splitWords(args)
			s[place] = append(s[place], savedRule{line: args, key: keyOf(words), marked: isMarked(words)})
		}
	}
	return s
}

// splitWords splits a line of iptables-save, in which words with blanks are quoted.
func splitWords(line string) (words []string) {
	var word strings.Builder
	quoted, open := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '"':
			quoted, open = !quoted, true
		case c == ' ' && !quoted:
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}

func isMarked(words []string) bool {
	i := slices.Index(words, "--comment")
	return i >= 0 && i+1 < len(words) && words[i+1] == Mark
}

// keyOf brings the options of a rule into one order, each with its value and its
// negation. A single address may be printed with its prefix length or without.
func keyOf(words []string) string {
	var options []string
	negated := false
	for _, w := range words {
		switch {
		case w == "!":
			negated = true
		case strings.HasPrefix(w, "-"):
			if negated {
				w = "!" + w
			}
			options = append(options, w)
			negated = false
		case len(options) > 0:
			w = strings.TrimSuffix(strings.TrimSuffix(w, "/32"), "/128")
			options[len(options)-1] += " " + w
		default:
			options = append(options, w)
		}
	}
	slices.Sort(options)
	return strings.Join(options, "\x00")
}

// Problem is a difference between a plan and the kernel.
type Problem struct {
	Rule string // its ID
	Text string
}

func (p Problem) String() string { return p.Text }

// describe says which rule, for people.
func describe(r *Rule) string {
	family := "IPv4"
	if r.IPv6 {
		family = "IPv6"
	}
	return string(r.Table) + " " + string(r.Chain) + ", " + family + ", " + r.ID + " (" + r.Why + ")"
}

// compare finds what is wrong in one place. Other people's rules may stand anywhere
// between ours.
func (s saved) compare(p *Plan, place Place) (problems []Problem) {
	lines := s[place]
	last := -1
	for _, r := range at(p.Rules, place) {
		key := r.key()
		first, count := -1, 0
		for i := range lines {
			if lines[i].key == key {
				if count == 0 {
					first = i
				}
				count++
			}
		}
		switch {
		case count == 0:
			problems = append(problems, Problem{r.ID, "missing: " + describe(r)})
		case count > 1:
			problems = append(problems, Problem{r.ID, "more than once: " + describe(r)})
		case first < last:
			problems = append(problems, Problem{r.ID, "out of order: " + describe(r)})
		}
		last = max(last, first)
	}
	for _, i := range s.stale(p, place) {
		problems = append(problems, Problem{"", "left over: -A " + string(place.Chain) + " " + lines[i].line})
	}
	return problems
}

// stale lists the rules in a place that are ours and not of the plan.
func (s saved) stale(p *Plan, place Place) (found []int) {
	wanted, gone := at(p.Rules, place), at(p.Gone, place)
	has := func(rules []*Rule, key string) bool {
		return slices.ContainsFunc(rules, func(r *Rule) bool { return r.key() == key })
	}
	for i, line := range s[place] {
		if !has(wanted, line.key) && (line.marked || has(gone, line.key)) {
			found = append(found, i)
		}
	}
	return found
}

// problems are those of all places of a family.
func (s saved) problems(p *Plan, ipv6 bool) (problems []Problem) {
	for _, place := range s.placesOf(p, ipv6) {
		problems = append(problems, s.compare(p, place)...)
	}
	return problems
}

// placesOf lists the places of the plan, and where a rule with our mark stands.
func (s saved) placesOf(p *Plan, ipv6 bool) (places []Place) {
	for _, place := range p.places() {
		if place.IPv6 == ipv6 {
			places = append(places, place)
		}
	}
	var others []Place
	for place, lines := range s {
		if !slices.Contains(places, place) && slices.ContainsFunc(lines, func(l savedRule) bool { return l.marked }) {
			others = append(others, place)
		}
	}
	slices.SortFunc(others, func(a, b Place) int {
		return strings.Compare(string(a.Table)+string(a.Chain), string(b.Table)+string(b.Chain))
	})
	return append(places, others...)
}

// script is input for iptables-restore --noflush that makes a family agree with the
// plan; empty when it does. Each table is changed at once, what guards before what
// opens.
func (s saved) script(p *Plan, ipv6 bool) string {
	var out strings.Builder
	for _, table := range []Table{Filter, Mangle, NAT} {
		var lines strings.Builder
		for _, place := range s.placesOf(p, ipv6) {
			if place.Table == table && len(s.compare(p, place)) > 0 {
				s.rewrite(&lines, p, place)
			}
		}
		if lines.Len() > 0 {
			out.WriteString("*" + string(table) + "\n" + lines.String() + "COMMIT\n")
		}
	}
	return out.String()
}

// rewrite deletes every rule of ours in a place and makes those of the plan.
func (s saved) rewrite(out *strings.Builder, p *Plan, place Place) {
	wanted := at(p.Rules, place)
	stale := s.stale(p, place)
	for i, line := range s[place] {
		ours := slices.Contains(stale, i) || slices.ContainsFunc(wanted, func(r *Rule) bool { return r.key() == line.key })
		if ours {
			out.WriteString("-D " + string(place.Chain) + " " + line.line + "\n")
		}
	}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Place() == place {
			op := "-A "
			if r.Insert {
				op = "-I "
			}
			out.WriteString(op + string(place.Chain) + " " + strings.Join(r.Args(), " ") + "\n")
		}
	}
}
