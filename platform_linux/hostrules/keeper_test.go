package hostrules_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	rules "ecsagent/platform_linux/hostrules"
	"ecsagent/platform_linux/hostrules/hostrulestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept is a keeper over a kernel in memory, with events to send.
type kept struct {
	*rules.Keeper
	kernel *hostrulestest.Kernel
	events chan struct{}
	logs   *observer.ObservedLogs
	stop   func()
}

func keep(t *testing.T, k *hostrulestest.Kernel) *kept {
	core, logs := observer.New(zap.WarnLevel)
	h := &kept{kernel: k, events: make(chan struct{}), logs: logs}
	h.Keeper = rules.NewKeeper(rules.KeeperOptions{
		Runner: &rules.IPTables{Exec: k.Exec}, Log: zap.New(core),
		Plan: func(context.Context) (rules.Plan, error) { return rules.Build(full), nil },
		Watch: func(ctx context.Context, changed func()) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-h.events:
					changed()
				}
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return h
}

var input = rules.Place{Table: rules.Filter, Chain: rules.Input}

func (h *kept) complete() bool { return len(h.kernel.Rules(input)) >= 5 }

func TestKeeperFindsByEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := keep(t, &hostrulestest.Kernel{})
		defer h.stop()
		if s := h.Status(); !h.complete() || s.Restored != 0 || s.Err != nil || s.Backend != "iptables" {
			t.Fatalf("at start: %+v, %v", s, h.kernel.Rules(input))
		}
		h.kernel.Flush()
		h.events <- struct{}{}
		time.Sleep(time.Second)
		if s := h.Status(); !h.complete() || s.Restored != 1 {
			t.Errorf("after a flush: %+v", s)
		}
		if h.logs.FilterMessage("packet rules put back").Len() != 1 {
			t.Errorf("log: %+v", h.logs.All())
		}
	})
}

func TestKeeperFindsWithoutEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := keep(t, &hostrulestest.Kernel{})
		defer h.stop()
		h.kernel.Flush()
		time.Sleep(61 * time.Second)
		if !h.complete() {
			t.Error("not put back")
		}
		// An operator's own rule above ours is left there.
		h.kernel.Insert(input, "-s 10.0.0.9/32 -p tcp -m tcp --dport 51678 -j ACCEPT")
		runs := len(h.kernel.Runs())
		time.Sleep(10 * time.Minute)
		if got := h.kernel.Rules(input)[0]; !strings.HasPrefix(got, "-s 10.0.0.9/32") || h.Status().Restored != 1 {
			t.Errorf("first rule %q, %+v", got, h.Status())
		}
		if per := (len(h.kernel.Runs()) - runs) / 10; per > 2 {
			t.Errorf("%d runs of a program in a minute in which nothing happens", per)
		}
	})
}

// Against a program that keeps on flushing there is no busy fight.
func TestKeeperFightsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := keep(t, &hostrulestest.Kernel{})
		defer h.stop()
		for range 10_000 {
			h.kernel.Flush()
			h.events <- struct{}{}
			time.Sleep(100 * time.Millisecond)
		}
		if n := h.Status().Restored; n < 10 || n > 60 {
			t.Errorf("put back %d times in 1,000 s", n)
		}
	})
}

func TestKeeperTellsFailureOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &hostrulestest.Kernel{Fail: errors.New("permission denied")}
		h := keep(t, k)
		defer h.stop()
		time.Sleep(10 * time.Minute)
		if s := h.Status(); s.Err == nil || s.Checked.IsZero() {
			t.Errorf("%+v", s)
		}
		if n := h.logs.FilterMessage("packet rules not in place").Len(); n != 1 {
			t.Errorf("told %d times", n)
		}
		k.SetFail(nil)
		time.Sleep(61 * time.Second)
		if s := h.Status(); s.Err != nil || len(s.Problems) != 0 || !h.complete() {
			t.Errorf("%+v", s)
		}
	})
}

func TestSettings(t *testing.T) {
	root := t.TempDir()
	write := func(key, value string) {
		file := filepath.Join(root, filepath.FromSlash(key))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(value+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(key string) string {
		value, _ := os.ReadFile(filepath.Join(root, filepath.FromSlash(key)))
		return strings.TrimSpace(string(value))
	}
	s := rules.Settings(root)
	p := rules.Build(rules.Options{Bridge: "docker0"})
	if _, err := s.Apply(&p); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "net.ipv4.conf.all.route_localnet") {
		t.Errorf("a kernel without the key: %v", err)
	}
	const all, byDefault, ra = "net/ipv4/conf/all/route_localnet", "net/ipv4/conf/default/route_localnet", "net/ipv6/conf/docker0/accept_ra"
	write(all, "0")
	write(byDefault, "0")
	if problems := s.Check(&p); len(problems) != 1 || problems[0].Text != "net.ipv4.conf.all.route_localnet is 0, not 1" {
		t.Errorf("%v", problems)
	}
	if changed, err := s.Apply(&p); err != nil || !changed || read(all) != "1" {
		t.Errorf("changed %v, %v, %q", changed, err, read(all))
	}
	write(ra, "1")
	if changed, err := s.Apply(&p); err != nil || !changed || read(ra) != "0" {
		t.Errorf("changed %v, %v, %q", changed, err, read(ra))
	}
	if changed, err := s.Apply(&p); err != nil || changed || len(s.Check(&p)) != 0 {
		t.Errorf("the second time: changed %v, %v", changed, err)
	}
	if err := s.Undo(&p); err != nil || read(all) != "0" || read(ra) != "0" {
		t.Errorf("undone: %v, %q, %q", err, read(all), read(ra))
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		facts rules.Facts
		want  rules.Backend
	}{
		{rules.Facts{}, ""},
		{rules.Facts{NFTables: true}, rules.NFT},
		{rules.Facts{NFTables: true, IPTables: true}, rules.NFT},
		{rules.Facts{IPTables: true}, rules.IPT},
		{rules.Facts{NFTables: true, IPTables: true, KernelRules: true}, rules.IPT},
		{rules.Facts{NFTables: true, IPTables: true, LegacyRules: true}, rules.IPT},
		{rules.Facts{NFTables: true, IPTables: true, IPTablesLegacy: true, LegacyRules: true}, rules.IPLegacy},
		{rules.Facts{NFTables: true, IPTables: true, IPTablesLegacy: true, LegacyRules: true, KernelRules: true}, rules.IPT},
		{rules.Facts{NFTables: true, KernelRules: true}, rules.NFT},
	} {
		got, err := rules.Choose(c.facts)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v: %q, error %v; want %q", c.facts, got, err, c.want)
		}
	}
}
