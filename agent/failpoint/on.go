//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Enabled tells whether this is a test build.
const Enabled = true

// Before is passed before something is done. An error stands for its failure.
func Before(area, what string) error { return process().pass(area + "." + what + ".before") }

// After is passed when it has been done. An error stands for an answer that got lost.
func After(area, what string) error { return process().pass(area + "." + what + ".after") }

// Limit is a limit that tests shorten.
func Limit(name string, limit time.Duration) time.Duration {
	if other, ok := limits()[name]; ok {
		return other
	}
	return limit
}

// limits are those of the environment, read once.
var limits = sync.OnceValue(func() map[string]time.Duration {
	all, err := parseLimits(os.Getenv("ECS_FAILPOINT_LIMITS"))
	if err != nil {
		panic(err) // as below
	}
	return all
})

// process reads the environment, once.
var process = sync.OnceValue(func() *points {
	rules, err := parse(os.Getenv("ECS_FAILPOINTS"))
	if err != nil {
		panic(err) // a test that asks for what does not exist must not pass
	}
	p := &points{rules: rules, passed: make(map[string]int), kill: killSelf}
	if name := os.Getenv("ECS_FAILPOINT_LOG"); name != "" {
		if p.log, err = os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			panic(err)
		}
	}
	return p
})

// points are the failpoints of a process.
type points struct {
	rules map[string]rule
	log   *os.File
	kill  func()

	mu     sync.Mutex
	passed map[string]int
}

func (p *points) pass(name string) error {
	p.mu.Lock()
	p.passed[name]++
	nth := p.passed[name]
	p.mu.Unlock()
	name = strings.ReplaceAll(name, " ", "-")
	if p.log != nil {
		_, _ = p.log.WriteString(name + "\n") // one write, so that lines stay whole
	}
	r, ok := p.rules[name]
	if !ok || r.nth != 0 && r.nth != nth {
		return nil
	}
	switch r.action {
	case actionKill:
		p.kill()
	case actionDelay:
		time.Sleep(r.delay)
	case actionError:
		return fmt.Errorf("failpoint %s", name)
	}
	return nil
}

// killSelf ends the process as kill -9 does, and does not return.
func killSelf() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // until the signal arrives
}
