package hostrules_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	rules "ecsagent/platform_linux/hostrules"
)

// keep starts a keeper on the lab's host and waits until it has applied the plan.
func (l *lab) keep(b rules.Backend) *rules.Keeper {
	t := l.t
	runner, err := l.host.means().Runner(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	k := rules.NewKeeper(rules.KeeperOptions{
		Runner: runner, Settings: settings{l.host}, Log: zaptest.NewLogger(t),
		Plan:  func(context.Context) (rules.Plan, error) { return rules.Build(l.options()), nil },
		Route: rules.Routes{NetNS: l.host.fd}.Apply,
		Watch: func(ctx context.Context, changed func()) error { return rules.Watch(ctx, l.host.fd, changed) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = k.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	l.await(k, func(s rules.Status) bool { return !s.Checked.IsZero() })
	return k
}

func (l *lab) await(k *rules.Keeper, ok func(rules.Status) bool) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok(k.Status()) {
		if time.Now().After(deadline) {
			l.t.Fatalf("%+v\n%s", k.Status(), l.dump())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// What programs do to each other's rules is undone within moments of it.
func TestKeeperPutsBack(t *testing.T) {
	type deed struct{ name, command string }
	for _, c := range []struct {
		backend rules.Backend
		what    []deed
	}{
		{rules.NFT, []deed{
			{"flush all", "nft flush ruleset"},
			{"a rule", "nft delete rule ip ecs-agent input handle $(nft -a list chain ip ecs-agent input | sed -n 's/.*R2 .*handle //p')"},
			{"the table", "nft delete table ip ecs-agent"},
			{"a chain", "nft flush chain ip6 ecs-agent input"},
			{"input comes to drop", `nft -f - <<< 'table inet site { chain input { type filter hook input priority 0; policy drop; ct state established accept; }; }'`},
			{"that table once more", `nft -f - <<< 'flush table inet site; table inet site { chain input { ct state established accept; }; }'`},
		}},
		{rules.IPT, []deed{
			{"flush nat", "iptables -t nat -F"},
			{"flush all", "nft flush ruleset"},
			{"flush input", "iptables -F INPUT"},
			{"a restore of all", `iptables-restore <<< $'*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT'`},
		}},
	} {
		t.Run(string(c.backend), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			k := l.keep(c.backend)
			l.container.expect("a bridge task", "169.254.170.2:80", "tasks")
			for _, d := range c.what {
				before := k.Status().Restored
				l.host.run("bash", "-ec", d.command)
				l.await(k, func(s rules.Status) bool { return s.Restored > before && s.Err == nil && len(s.Problems) == 0 })
				if got := l.container.ask("169.254.170.2:80", "tasks"); got != "tasks" {
					t.Errorf("%s: a bridge task gets %q\n%s", d.name, got, l.dump())
				}
			}
		})
	}
}

// What Docker does for its containers wakes nobody.
func TestWatchIsQuiet(t *testing.T) {
	needLab(t)
	s := newSpace(t)
	s.run("sh", "-ec", "iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -j DOCKER; iptables -N DOCKER; iptables -P FORWARD DROP; iptables -t nat -A POSTROUTING -j RETURN")
	ctx, cancel := context.WithCancel(t.Context())
	woken := make(chan struct{}, 100)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		if err := rules.Watch(ctx, s.fd, func() { woken <- struct{}{} }); err != nil {
			t.Error(err)
		}
	})
	// The watch hears once something of ours is deleted, and then again and again.
	heard := func() bool {
		s.run("sh", "-ec", "nft add table ip ecs-agent; nft delete table ip ecs-agent")
		select {
		case <-woken:
			return true
		case <-time.After(50 * time.Millisecond):
			return false
		}
	}
	for deadline := time.Now().Add(patience); !heard(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing heard")
		}
	}
	for len(woken) > 0 {
		<-woken
	}
	s.run("sh", "-ec", `
		iptables -t nat -A DOCKER -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
		iptables -t nat -A POSTROUTING -s 172.17.0.2 -d 172.17.0.2 -j MASQUERADE
		iptables -A DOCKER -d 172.17.0.2 -j ACCEPT
		iptables -D DOCKER -d 172.17.0.2 -j ACCEPT
		iptables -t nat -D POSTROUTING -s 172.17.0.2 -d 172.17.0.2 -j MASQUERADE
		iptables -t nat -D DOCKER -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80`)
	// Events come in order: this one comes last.
	s.run("sh", "-ec", "nft add table ip ecs-agent; nft delete table ip ecs-agent")
	<-woken
	select {
	case <-woken:
		t.Error("a published port woke the watch")
	case <-time.After(100 * time.Millisecond):
	}
}
