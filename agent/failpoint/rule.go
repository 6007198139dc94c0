package failpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type action uint8

const (
	actionKill action = iota + 1
	actionError
	actionDelay
)

// rule says what happens at a failpoint.
type rule struct {
	action action
	delay  time.Duration
	nth    int // 0 means each time
}

// parse reads ECS_FAILPOINTS.
func parse(text string) (map[string]rule, error) {
	rules := make(map[string]rule)
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' }) {
		name, rest, ok := strings.Cut(entry, "=")
		if !ok || !slices.Contains(All(), name) {
			return nil, fmt.Errorf("ECS_FAILPOINTS: %q: want NAME=ACTION, with a name of failpoint.All", entry)
		}
		what, nth, counted := strings.Cut(rest, "@")
		var r rule
		if counted {
			n, err := strconv.Atoi(nth)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("ECS_FAILPOINTS: %q: want a positive number after @", entry)
			}
			r.nth = n
		}
		what, length, _ := strings.Cut(what, ":")
		switch what {
		case "kill":
			r.action = actionKill
		case "error":
			r.action = actionError
		case "delay":
			d, err := time.ParseDuration(length)
			if err != nil {
				return nil, fmt.Errorf("ECS_FAILPOINTS: %q: %w", entry, err)
			}
			r.action, r.delay = actionDelay, d
		default:
			return nil, fmt.Errorf("ECS_FAILPOINTS: %q: want kill, error or delay:DURATION", entry)
		}
		rules[name] = r
	}
	return rules, nil
}

// parseLimits reads ECS_FAILPOINT_LIMITS.
func parseLimits(text string) (map[string]time.Duration, error) {
	all := make(map[string]time.Duration)
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' }) {
		name, length, _ := strings.Cut(entry, "=")
		limit, err := time.ParseDuration(length)
		if err != nil || !slices.Contains(limited, name) {
			return nil, fmt.Errorf("ECS_FAILPOINT_LIMITS: %q: want NAME=DURATION, with one of %q", entry, limited)
		}
		all[name] = limit
	}
	return all, nil
}
