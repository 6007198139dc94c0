package hostrules_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	rules "ecsagent/platform_linux/hostrules"
)

// hostRoot shows /proc/net as a namespace has it.
type hostRoot struct{ s space }

func (r hostRoot) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "proc/net/") {
		file := path.Join(r.s.t.TempDir(), path.Base(name))
		if err := os.WriteFile(file, []byte(r.s.run("cat", "/"+name)), 0o600); err != nil {
			return nil, err
		}
		return os.Open(file)
	}
	return os.DirFS("/").Open(name)
}

var backends = []rules.Backend{rules.NFT, rules.IPT, rules.IPLegacy}

// set makes the host of a lab agree with a plan.
func (l *lab) set(runner rules.Runner, settings settings, p *rules.Plan) {
	l.t.Helper()
	if _, err := runner.Apply(l.t.Context(), p); err != nil {
		l.t.Fatal(err)
	}
	if _, err := settings.Apply(p); err != nil {
		l.t.Fatal(err)
	}
	if problems, err := runner.Check(l.t.Context(), p); err != nil || len(problems) > 0 {
		l.t.Fatalf("after applying: %v, error %v", problems, err)
	}
	if again, err := runner.Apply(l.t.Context(), p); err != nil || again {
		l.t.Fatalf("the second time: changed %v, error %v", again, err)
	}
}

// dump is every packet rule of the host, as the host's own tools print them. Empty
// chains of iptables' own, which stay once they were made, are left out.
func (l *lab) dump() string {
	var out strings.Builder
	for _, program := range []string{"iptables-legacy-save", "ip6tables-legacy-save"} {
		for line := range strings.Lines(l.host.run(program)) {
			if strings.HasPrefix(line, "-A") {
				out.WriteString(program + " " + line)
			}
		}
	}
	rules := l.host.run("nft", "list", "ruleset")
	for _, r := range emptied {
		rules = r.ReplaceAllString(rules, "")
	}
	return out.String() + strings.ReplaceAll(rules, "\n\n", "\n")
}

var emptied = []*regexp.Regexp{
	regexp.MustCompile(`packets \d+ bytes \d+`),
	regexp.MustCompile(`\tchain [A-Z]+ \{\n.*policy accept;\n\t\}\n`),
	regexp.MustCompile(`table ip6? (filter|nat|mangle) \{\n\n*\}\n`),
}

// drops are hosts on which input is refused by default, by whatever means a host has.
var drops = map[rules.Backend][]string{
	rules.NFT: nftDrops,
	rules.IPT: append([]string{"iptables -P INPUT DROP", "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"}, nftDrops...),
	rules.IPLegacy: append([]string{
		"iptables-legacy -P INPUT DROP", "iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
	}, nftDrops...),
}

var nftDrops = []string{
	"nft add table inet site", "nft add chain inet site input { type filter hook input priority 0; policy drop; }",
	"nft add rule inet site input ct state established accept", "nft add rule inet site input meta l4proto ipv6-icmp accept",
	"nft add table ip other", "nft add chain ip other last", "nft add rule ip other last reject",
	"nft add chain ip other incoming { type filter hook input priority 10; }",
	"nft add rule ip other incoming ct state established accept", "nft add rule ip other incoming jump last",
}

// Everything that a path must let through and keep out, for each backend, on hosts
// whose input drops by default too. Taken away, nothing is left.
func TestPath(t *testing.T) {
	for _, b := range backends {
		for _, name := range []string{"open", "drops"} {
			t.Run(string(b)+"/"+name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				if name == "drops" {
					l.host.run("sh", "-ec", strings.NewReplacer("{", "'{", "}", "}'").Replace(strings.Join(drops[b], "\n")))
				}
				before := l.dump()
				means := l.host.means()
				runner, err := means.Runner(t.Context(), b)
				if err != nil {
					t.Fatal(err)
				}
				settings := settings{l.host}
				p := rules.Build(l.options())
				l.set(runner, settings, &p)
				l.checkPath(name == "open")
				if t.Failed() {
					t.Log(l.dump())
				}
				if name == "open" {
					l.checkListing(b)
					l.checkMetadata(b)
				}
				if err := errors.Join(means.Remove(t.Context(), p), settings.Undo(&p)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, l.dump()); diff != "" {
					t.Errorf("after removal (-before +after):\n%s", diff)
				}
				if value := l.host.run("sysctl", "-n", "net.ipv4.conf.all.route_localnet"); value != "0\n" {
					t.Errorf("route_localnet is %s", value)
				}
			})
		}
	}
}

// checkPath asks from everywhere for everything.
func (l *lab) checkPath(open bool) {
	l.t.Helper()
	var asking sync.WaitGroup
	defer asking.Wait()
	expect := func(s space, what, address, want string) {
		asking.Go(func() { s.expect(what, address, want) })
	}
	expect(l.container, "a bridge task", "169.254.170.2:80", "tasks")
	expect(l.host, "a process or host task", "169.254.170.2:80", "tasks")
	expect(l.container, "a bridge task, introspection", "172.31.7.1:51678", "introspection")
	expect(l.container, "a bridge task, introspection over IPv6", "[fd07::1]:51678", "introspection")
	expect(l.container, "a bridge task, instance metadata", "169.254.169.254:80", refused)
	expect(l.container, "a bridge task, instance metadata over IPv6", "[fd00:ec2::254]:80", refused)
	expect(l.host, "the host, instance metadata", "169.254.169.254:80", "imds")
	expect(l.host, "the host, instance metadata over IPv6", "[fd00:ec2::254]:80", "imds6")
	if open {
		expect(l.host, "the host, introspection", "127.0.0.1:51678", "introspection")
	}
	expect(l.world, "another host, introspection", "192.0.2.2:51678", silence)
	expect(l.world, "another host, introspection over IPv6", "[fd02::2]:51678", silence)
	// Neighbours that send link-local and loopback destinations through this host.
	asking.Wait()
	l.world.ip("route add 169.254.170.2/32 via 192.0.2.2")
	l.world.spoof("192.0.2.2", "192.0.2.1")
	l.container.spoof("172.31.7.1", "172.31.7.2")
	expect(l.world, "another host, credentials", "169.254.170.2:80", silence)
	expect(l.world, "another host, credentials on loopback", "127.0.0.1:51679", silence)
	expect(l.world, "another host, loopback", "127.0.0.1:6379", silence)
	expect(l.container, "a bridge task, credentials on loopback", "127.0.0.1:51679", silence)
	expect(l.container, "a bridge task, the host's loopback", "127.0.0.1:6379", silence)
}

// checkListing compares the rules as other programs list them.
func (l *lab) checkListing(b rules.Backend) {
	l.t.Helper()
	if b == rules.NFT {
		golden(l.t, "listed.nft", l.host.run("nft", "-n", "list", "ruleset"))
		return
	}
	program := map[rules.Backend]string{rules.IPT: "iptables", rules.IPLegacy: "iptables-legacy"}[b]
	for chain, want := range map[string]string{
		"filter INPUT": `-P INPUT ACCEPT
-A INPUT -i ens5 -p tcp -m tcp --dport 51679 -m comment --comment ecs-agent -j DROP
-A INPUT -d 127.0.0.1/32 -p tcp -m tcp --dport 51679 -m conntrack --ctstate DNAT -m comment --comment ecs-agent -j ACCEPT
-A INPUT -i docker0 -p tcp -m tcp --dport 51678 -j ACCEPT
-A INPUT ! -i lo -p tcp -m tcp --dport 51678 -j DROP
-A INPUT ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
`,
		"nat PREROUTING": `-P PREROUTING ACCEPT
-A PREROUTING -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 127.0.0.1:51679
`,
		"nat OUTPUT": `-P OUTPUT ACCEPT
-A OUTPUT -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 51679
`,
	} {
		table, name, _ := strings.Cut(chain, " ")
		if diff := cmp.Diff(want, l.host.run(program, "-t", table, "-S", name)); diff != "" {
			l.t.Errorf("%s %s (-want +got):\n%s", program, chain, diff)
		}
	}
}

// checkMetadata asks for instance metadata once more, with rules above ours in FORWARD
// that accept, as Docker makes them.
func (l *lab) checkMetadata(b rules.Backend) {
	l.t.Helper()
	suffix, want := "", silence
	switch b {
	case rules.IPLegacy:
		suffix = "-legacy"
	case rules.NFT:
		want = refused // ours come first, in a table of their own
	}
	for _, op := range []string{"-I", "-D"} {
		l.host.run("iptables"+suffix, op, "FORWARD", "-j", "ACCEPT")
		l.host.run("ip6tables"+suffix, op, "FORWARD", "-j", "ACCEPT")
		if op == "-I" {
			l.container.expect("a bridge task", "169.254.169.254:80", want)
			l.container.expect("a bridge task", "[fd00:ec2::254]:80", want)
		}
	}
}

func TestDetection(t *testing.T) {
	for name, c := range map[string]struct {
		setUp string
		want  string
	}{
		"nobody":   {"true", "nftables"},
		"nftables": {"nft add table inet site", "nftables"},
		"Docker":   {"iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -j DOCKER", "iptables"},
		"legacy":   {"iptables-legacy -A INPUT -i lo -j ACCEPT", "iptables-legacy"},
		"both":     {"iptables-legacy -A INPUT -i lo -j ACCEPT; iptables -A INPUT -i lo -j ACCEPT", "iptables"},
	} {
		t.Run(name, func(t *testing.T) {
			needLab(t)
			s := newSpace(t)
			s.run("sh", "-ec", c.setUp)
			runner, err := s.means().Runner(t.Context(), rules.Auto)
			if err != nil || runner.Name() != c.want {
				t.Errorf("%v, error %v; want %s", runner, err, c.want)
			}
		})
	}
}

// The one rule that iptables cannot see but the kernel could: a route for
// 169.254.170.2 where no default route leads there.
func TestLoopbackRoute(t *testing.T) {
	needLab(t)
	s := newSpace(t)
	s.ip("link add docker0 type bridge", "link set docker0 up", "addr add 172.17.0.1/16 dev docker0")
	s.listen("127.0.0.1:51679", "tasks")
	p := rules.Build(rules.Options{LoopbackRoute: true})
	runner, err := s.means().Runner(t.Context(), rules.NFT)
	if err == nil {
		_, err = runner.Apply(t.Context(), &p)
	}
	routes := rules.Routes{NetNS: s.fd}
	for range 2 { // it may exist
		err = errors.Join(err, routes.Apply(&p))
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := s.run("ip", "route", "show", "169.254.170.2"); !strings.HasPrefix(got, "169.254.170.2 dev lo proto static scope link") {
		t.Errorf("route %q", got)
	}
	s.expect("a host task of an IPv6-only host", "169.254.170.2:80", "tasks")
	for range 2 {
		if err := routes.Undo(&p); err != nil {
			t.Error(err)
		}
	}
	if got := s.run("ip", "route", "show", "169.254.170.2"); got != "" {
		t.Errorf("left: %q", got)
	}
}
