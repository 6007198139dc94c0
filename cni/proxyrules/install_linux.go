package proxyrules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"ecsagent/cni/kernel"
)

// A command of iptables takes milliseconds; it waits for a lock for up to five seconds.
const iptablesTimeout = 10 * time.Second

// Install makes the rules of the set be there, once.
func Install(task *kernel.Space, s Set) error {
	first := nft{task.FD()}.install(s)
	if first == nil {
		return nil
	}
	if err := (iptables{task, s.IPv6}).apply(s, true); err != nil {
		return fmt.Errorf("install the rules of %s: with nftables: %w; with iptables: %w", s.Name, first, err)
	}
	return nil
}

// Remove makes nothing of the set be there, whoever installed it: this agent, through
// either of the two, or the official one, which has the same chains in iptables.
func Remove(task *kernel.Space, s Set) error {
	n := nft{task.FD()}
	var err error
	// A kernel without nftables has no tables of it.
	if tables, e := n.tables(s.IPv6); e == nil && tables[s.Name] {
		err = n.remove(s)
	}
	t := iptables{task, s.IPv6}
	if !t.used() {
		return err
	}
	return errors.Join(err, t.apply(s, false))
}

// Check says what of the set is missing, if something is.
func Check(task *kernel.Space, s Set) error {
	first := nft{task.FD()}.present(s)
	if first == nil {
		return nil
	}
	t := iptables{task, s.IPv6}
	if !t.used() {
		return fmt.Errorf("rules of %s: %w", s.Name, first)
	}
	saved, err := t.save()
	if err != nil {
		return err
	}
	if line := s.missing(saved); line != "" {
		return fmt.Errorf("rules of %s: there is no %q", s.Name, line)
	}
	return nil
}

// iptables is the rules of a namespace through the programs that the host has.
type iptables struct {
	task *kernel.Space
	ipv6 bool
}

// used reports whether the namespace has tables of iptables, of either back-end, so that
// no program is started for nothing.
func (t iptables) used() bool {
	// iptables over nftables has its tables there under their names.
	if tables, err := (nft{t.task.FD()}).tables(t.ipv6); err == nil && (tables["nat"] || tables["mangle"]) {
		return true
	}
	file := "/proc/thread-self/net/ip_tables_names"
	if t.ipv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	var names []byte
	err := t.task.Do(func() error {
		var err error
		names, err = os.ReadFile(file)
		return err
	})
	return err == nil && len(bytes.TrimSpace(names)) > 0
}

func (t iptables) program(name string) string {
	if t.ipv6 {
		return "ip6tables" + name
	}
	return "iptables" + name
}

func (t iptables) apply(s Set, install bool) error {
	saved, err := t.save()
	if err != nil {
		return err
	}
	input := s.restore(saved, install)
	if input == "" {
		return nil
	}
	_, err = t.run(input, t.program("-restore"), "--noflush", "-w", "5")
	return err
}

func (t iptables) save() (string, error) { return t.run("", t.program("-save")) }

// run starts a program in the namespace.
func (t iptables) run(input, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	err := t.task.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), iptablesTimeout)
		defer cancel()
		c := exec.CommandContext(ctx, name, args...)
		c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &errs
		return c.Run()
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
