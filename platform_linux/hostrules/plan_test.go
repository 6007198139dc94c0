package hostrules_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	rules "ecsagent/platform_linux/hostrules"
	"ecsagent/platform_linux/hostrules/hostrulestest"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// full asks for every rule there is.
var full = rules.Options{Bridge: "docker0", Uplinks: []string{"ens5"}, IPv6: true, BlockMetadata: true}

func commands(p rules.Plan) string {
	var out strings.Builder
	for i := range p.Rules {
		out.WriteString(p.Rules[i].Command() + "\n")
	}
	return out.String()
}

func TestPlans(t *testing.T) {
	for name, o := range map[string]rules.Options{
		"full":    full,
		"minimal": {SkipLocalhostFilter: true, OffhostIntrospection: true},
	} {
		p := rules.Build(o)
		golden(t, name+".iptables", commands(p))
		golden(t, name+".nft", p.Script())
	}
}

// The rules that customers audit read as the official supervisor writes them, in its
// order (docs/spec/03 section 5.7.1).
func TestSpecifiedRules(t *testing.T) {
	var got []string
	for _, r := range rules.Build(rules.Options{Bridge: "docker0", Uplinks: []string{"ens5"}}).Rules {
		if strings.HasPrefix(r.ID, "R") {
			got = append(got, r.ID+" "+string(r.Table)+" "+string(r.Chain)+" "+strings.Join(r.Args(), " "))
		}
	}
	want := []string{
		"R1 nat PREROUTING -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 127.0.0.1:51679",
		"R2 filter INPUT ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
		"R3 filter INPUT ! -i lo -p tcp -m tcp --dport 51678 -j DROP",
		"R4 filter INPUT -i docker0 -p tcp -m tcp --dport 51678 -j ACCEPT",
		"R5 nat OUTPUT -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 51679",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUplinkThatIsTheBridgeStaysOpen(t *testing.T) {
	p := rules.Build(rules.Options{Bridge: "br0", Uplinks: []string{"br0", "wlan0"}})
	var dropped []string
	for _, r := range p.Rules {
		if r.ID == "drop-offhost" {
			dropped = append(dropped, r.Match.In)
		}
	}
	if !slices.Equal(dropped, []string{"wlan0"}) {
		t.Errorf("drops what comes through %v", dropped)
	}
}

func TestLook(t *testing.T) {
	const (
		head   = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
		via    = "ens5\t00000000\t0101000A\t0003\t0\t0\t512\t00000000\t0\t0\t0\n"
		direct = "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
		net    = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
		zero   = "00000000000000000000000000000000"
		v6     = zero + " 00 " + zero + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     ens6\n"
		none   = zero + " 00 " + zero + " 00 " + zero + " ffffffff 00000001 00000000 00200200       lo\n"
	)
	for name, c := range map[string]struct {
		v4, v6 string
		want   rules.Host
	}{
		"usual":     {head + via + net, none, rules.Host{Uplinks: []string{"ens5"}, DefaultRoute: true, IPv6: true}},
		"direct":    {head + direct, "", rules.Host{Uplinks: []string{"ppp0"}, IPv6: true}},
		"IPv6 only": {head + net, v6 + none, rules.Host{Uplinks: []string{"ens6"}, IPv6: true}},
		"both":      {head + via + via, v6, rules.Host{Uplinks: []string{"ens5", "ens6"}, DefaultRoute: true, IPv6: true}},
		"junk":      {"a b\n\n", "x\n", rules.Host{IPv6: true}},
	} {
		root := fstest.MapFS{
			"proc/net/route": {Data: []byte(c.v4)}, "proc/net/ipv6_route": {Data: []byte(c.v6)},
			"proc/sys/net/ipv6/bindv6only": {},
		}
		if diff := cmp.Diff(c.want, rules.Look(root)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if h := rules.Look(fstest.MapFS{}); h.IPv6 || h.DefaultRoute || h.Uplinks != nil {
		t.Errorf("no /proc: %+v", h)
	}
}

// foreign are rules that others may have anywhere.
var foreign = []string{
	"-m addrtype --dst-type LOCAL -j DOCKER", "-i docker0 -j ACCEPT", "-j DROP", `-m comment --comment "my rule" -j ACCEPT`,
	"-s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT",
}

// Whatever stands in the chains, applying makes the plan hold, changes nothing the
// second time, keeps other people's rules in their order, and undoing leaves exactly
// those.
func TestApplyAgreesAndUndoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := rapid.Custom(func(t *rapid.T) rules.Options {
			b := func(name string) bool { return rapid.Bool().Draw(t, name) }
			return rules.Options{
				Bridge: rapid.SampledFrom([]string{"", "docker0"}).Draw(t, "bridge"), Uplinks: rapid.SampledFrom([][]string{nil, {"ens5"}, {"ens5", "ens6"}}).Draw(t, "uplinks"),
				IPv6: b("ipv6"), OffhostIntrospection: b("offhost"), BlockMetadata: b("block"),
			}
		})
		kernel := &hostrulestest.Kernel{}
		runner := &rules.IPTables{Exec: kernel.Exec}
		o := options.Draw(t, "options")
		p := rules.Build(o)
		// What an earlier run with other settings, a crash and other programs left.
		earlier := rules.Build(options.Draw(t, "earlier"))
		pool := slices.Concat(p.Rules, earlier.Rules)
		places := []rules.Place{}
		for i := range pool {
			places = append(places, pool[i].Place())
		}
		theirs := map[rules.Place][]string{}
		for range rapid.IntRange(0, 12).Draw(t, "before") {
			place := rapid.SampledFrom(places).Draw(t, "place")
			if rapid.Bool().Draw(t, "ours") {
				r := rapid.SampledFrom(pool).Draw(t, "rule")
				kernel.Add(r.Place(), strings.Join(r.Args(), " "))
				continue
			}
			line := rapid.SampledFrom(foreign).Draw(t, "line")
			kernel.Add(place, line)
			theirs[place] = append(theirs[place], line)
		}
		ctx := t.Context()
		if _, err := runner.Apply(ctx, &p); err != nil {
			t.Fatal(err)
		}
		if problems, err := runner.Check(ctx, &p); err != nil || len(problems) > 0 {
			t.Fatalf("after applying: %v, %v", problems, err)
		}
		if again, err := runner.Apply(ctx, &p); err != nil || again {
			t.Fatalf("the second time: changed %v, %v", again, err)
		}
		// Another family's rules are not looked at by a plan without it.
		all := rules.Build(rules.Options{Bridge: "docker0", Uplinks: o.Uplinks, IPv6: true})
		gone := all.WithoutAll()
		if _, err := runner.Apply(ctx, &gone); err != nil {
			t.Fatal(err)
		}
		for _, place := range places {
			if diff := cmp.Diff(theirs[place], kernel.Rules(place), equateEmpty); diff != "" {
				t.Fatalf("%v after undoing (-theirs +left):\n%s", place, diff)
			}
		}
	})
}

var equateEmpty = cmp.Transformer("nil", func(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
})

func FuzzSaved(f *testing.F) {
	f.Add("*nat\n-A PREROUTING -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 127.0.0.1:51679\nCOMMIT\n")
	f.Add("*filter\n:INPUT DROP [1:2]\n-A INPUT -m comment --comment \"a \\\"b\\\" c\" ! -i lo -j DROP\n")
	f.Add("*\n-A \n-A INPUT\n-A INPUT ! ! \"\n")
	f.Fuzz(func(t *testing.T, text string) {
		kernel := func(_ context.Context, _, _ string, _ ...string) (string, error) { return text, nil }
		p := rules.Build(full)
		if _, err := (&rules.IPTables{Exec: kernel}).Check(t.Context(), &p); err != nil {
			t.Error(err)
		}
	})
}
