package hostrules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// execLimit bounds one run of iptables, which waits up to five seconds for whoever
// holds its lock.
const execLimit = 15 * time.Second

// Exec runs a program with input and returns what it printed.
type Exec func(ctx context.Context, stdin, program string, args ...string) (string, error)

// Command runs programs of the host.
func Command(ctx context.Context, stdin, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, execLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			return "", fmt.Errorf("%s: %w: %s", program, err, text)
		}
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return stdout.String(), nil
}

// IPTables is the Runner that runs iptables-save and iptables-restore.
type IPTables struct {
	Exec Exec
	// Legacy chooses the programs for the kernel's older tables, by name.
	Legacy bool
	// NoIPv6 is whether there is no ip6tables.
	NoIPv6 bool
}

// Name implements Runner.
func (t *IPTables) Name() string {
	if t.Legacy {
		return "iptables-legacy"
	}
	return "iptables"
}

func (t *IPTables) program(ipv6 bool, what string) string {
	name := "iptables"
	if ipv6 {
		name = "ip6tables"
	}
	if t.Legacy {
		name += "-legacy"
	}
	return name + what
}

// families are those that can be read and that a plan has rules for.
func (t *IPTables) families(p *Plan) []bool {
	for _, place := range p.places() {
		if place.IPv6 {
			return families(!t.NoIPv6)
		}
	}
	return families(false)
}

func (t *IPTables) read(ctx context.Context, ipv6 bool) (saved, error) {
	text, err := t.Exec(ctx, "", t.program(ipv6, "-save"))
	if err != nil {
		return nil, fmt.Errorf("read the packet rules: %w", err)
	}
	return parseSaved(text, ipv6), nil
}

// Check implements Runner.
func (t *IPTables) Check(ctx context.Context, p *Plan) ([]Problem, error) {
	var problems []Problem
	for _, ipv6 := range t.families(p) {
		s, err := t.read(ctx, ipv6)
		if err != nil {
			return nil, err
		}
		problems = append(problems, s.problems(p, ipv6)...)
	}
	return problems, nil
}

// Apply implements Runner. One family's failure does not keep the other from its
// rules.
func (t *IPTables) Apply(ctx context.Context, p *Plan) (changed bool, err error) {
	var failures []error
	for _, ipv6 := range t.families(p) {
		s, err := t.read(ctx, ipv6)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		script := s.script(p, ipv6)
		if script == "" {
			continue
		}
		if _, err := t.Exec(ctx, script, t.program(ipv6, "-restore"), "--noflush", "-w", "5"); err != nil {
			failures = append(failures, fmt.Errorf("change the packet rules: %w", err))
			continue
		}
		changed = true
	}
	return changed, errors.Join(failures...)
}
