package proxyrules

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"ecsagent/cni/nettest"
)

// backEnds are the ways to install rules that this machine has.
func backEnds(t *testing.T, n *nettest.Namespace) map[string]func(Set, bool) error {
	all := map[string]func(Set, bool) error{
		"nftables": func(s Set, install bool) error {
			if install {
				return nft{n.FD()}.install(s)
			}
			return Remove(n.Space, s)
		},
	}
	for _, kind := range []string{"nft", "legacy"} {
		if _, err := exec.LookPath("iptables-" + kind + "-restore"); err != nil {
			t.Logf("without iptables-%s: %v", kind, err)
			continue
		}
		all["iptables-"+kind] = func(s Set, install bool) error {
			i := iptables{n.Space, s.IPv6}
			name := "iptables-" + kind
			if s.IPv6 {
				name = "ip6tables-" + kind
			}
			saved, err := i.run("", name+"-save")
			if err != nil {
				return err
			}
			if input := s.restore(saved, install); input != "" {
				_, err = i.run(input, name+"-restore", "--noflush")
			}
			return err
		}
	}
	return all
}

// TestSavedAsWritten: what iptables-save prints is what was asked for, so that rules can
// be compared.
func TestSavedAsWritten(t *testing.T) {
	n := nettest.New(t)
	for name, apply := range backEnds(t, n) {
		if name == "nftables" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := example()
			for range 2 {
				if err := apply(s, true); err != nil {
					t.Fatal(err)
				}
				saved, err := iptables{n.Space, false}.run("", name+"-save")
				if err != nil {
					t.Fatal(err)
				}
				if line := s.missing(saved); line != "" {
					t.Errorf("no %q in\n%s", line, saved)
				}
				if got := strings.Count(saved, "\n-A "); got != strings.Count(installed, "\n-A ") {
					t.Errorf("%d rules in\n%s", got, saved)
				}
			}
			for range 2 {
				if err := apply(s, false); err != nil {
					t.Fatal(err)
				}
				if saved, err := (iptables{n.Space, false}).run("", name+"-save"); err != nil || strings.Contains(saved, "\n-A ") || strings.Contains(saved, "MY_EGRESS") {
					t.Errorf("%v, left:\n%s", err, saved)
				}
			}
		})
	}
}

func TestRemovesWhatTheOfficialPluginMade(t *testing.T) {
	if _, err := exec.LookPath("iptables"); err != nil {
		t.Skip(err)
	}
	n := nettest.New(t)
	s := example()
	if err := (iptables{n.Space, false}).apply(s, true); err != nil {
		t.Fatal(err)
	}
	if err := Check(n.Space, s); err != nil {
		t.Error(err)
	}
	if err := Remove(n.Space, s); err != nil {
		t.Fatal(err)
	}
	if err := Check(n.Space, s); err == nil {
		t.Error("still there")
	}
}

func TestNftablesComesAndGoesWhole(t *testing.T) {
	n := nettest.New(t)
	s := example()
	for range 2 {
		if err := Remove(n.Space, s); err != nil {
			t.Errorf("nothing there: %v", err)
		}
	}
	for range 2 {
		if err := (nft{n.FD()}).install(s); err != nil {
			t.Fatal(err)
		}
		if err := Check(n.Space, s); err != nil {
			t.Error(err)
		}
	}
	// A rule less.
	other := example()
	other.Chains[0].Rules = other.Chains[0].Rules[1:]
	if err := (nft{n.FD()}).present(other); err == nil {
		t.Error("another number of rules is the same")
	}
	if err := errors.Join(Remove(n.Space, s), Remove(n.Space, s)); err != nil {
		t.Error(err)
	}
	if tables, err := (nft{n.FD()}).tables(false); err != nil || tables[s.Name] {
		t.Errorf("%v %v", tables, err)
	}
}
