package awsfolder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Faults is how the file of that name in the folder is written: for each line a service,
// an operation and a name, "*" for any, and what goes wrong. A number says how often.
//
//	ssm GetParameters /prod/db denied
//	secretsmanager BatchGetSecretValue * denied
//	s3 * bucket/key throttled 2
//	ssm * * slow 5s 1
//
// The words are denied, throttled, unavailable, expired, and slow with a time. A change
// of the file counts at once, and begins the numbers anew.
const Faults = "faults"

const maxFaults = 64 << 10

// faultAnswers are what the services say, S3 and the others.
var faultAnswers = map[string][2]refusal{
	"denied": {
		{status: http.StatusForbidden, code: "AccessDenied", message: "Access Denied"},
		{status: http.StatusBadRequest, code: "AccessDeniedException", message: "The role is not authorized to perform this action."},
	},
	"throttled": {
		{status: http.StatusServiceUnavailable, code: "SlowDown", message: "Please reduce your request rate."},
		{status: http.StatusBadRequest, code: "ThrottlingException", message: "Rate exceeded"},
	},
	"unavailable": {
		{status: http.StatusInternalServerError, code: "InternalError", message: "We encountered an internal error. Please try again."},
		{status: http.StatusInternalServerError, code: "InternalServerError", message: "An error occurred on the server side."},
	},
	"expired": {
		{status: http.StatusBadRequest, code: "ExpiredToken", message: "The provided token has expired."},
		{status: http.StatusBadRequest, code: "ExpiredTokenException", message: "The security token included in the request is expired"},
	},
}

// faults count what went wrong already.
type faults struct {
	mu   sync.Mutex
	text string
	done map[string]int // by line
}

// faultRule is a line.
type faultRule struct {
	line, service, operation, name string
	word                           string
	delay                          time.Duration // of slow
	times                          int           // 0: always
}

func parseFaults(text string) ([]faultRule, error) {
	var rules []faultRule
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		wrong := func(what string) error {
			return fmt.Errorf("file %s, line %d: %s", Faults, number, what)
		}
		if len(fields) < 4 {
			return nil, wrong("want SERVICE OPERATION NAME FAULT, with * for any")
		}
		r := faultRule{line: strings.Join(fields, " "), service: fields[0], operation: fields[1], name: fields[2], word: fields[3]}
		rest := fields[4:]
		if _, ok := faultAnswers[r.word]; !ok && r.word != "slow" {
			return nil, wrong(fmt.Sprintf("the fault is %q: want denied, throttled, unavailable, expired or slow", r.word))
		}
		if r.word == "slow" {
			if len(rest) == 0 {
				return nil, wrong("slow takes a time, such as 5s")
			}
			var err error
			if r.delay, err = time.ParseDuration(rest[0]); err != nil {
				return nil, wrong(fmt.Sprintf("the time is %q: want one such as 5s", rest[0]))
			}
			rest = rest[1:]
		}
		if len(rest) > 0 {
			n, err := strconv.Atoi(rest[0])
			if err != nil || n < 1 || len(rest) > 1 {
				return nil, wrong(fmt.Sprintf("the end is %q: want a number of times, or nothing", strings.Join(rest, " ")))
			}
			r.times = n
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func (r *faultRule) matches(q *request) bool {
	is := func(want, got string) bool { return want == "*" || want == got }
	return is(r.service, q.service) && is(r.operation, q.operation) && (r.name == "*" || slices.Contains(q.names, r.name))
}

// take reports whether the rule has its turn, and counts it.
func (f *faults) take(text string, r *faultRule) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.text != text || f.done == nil {
		f.text, f.done = text, make(map[string]int)
	}
	if r.times > 0 && f.done[r.line] >= r.times {
		return false
	}
	f.done[r.line]++
	return true
}

// fault does what the file says about the request.
func (s *Services) fault(ctx context.Context, q *request) *refusal {
	f, err := s.read("", Faults, maxFaults)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var rules []faultRule
	if err == nil {
		rules, err = parseFaults(f.text)
	}
	if err != nil {
		return s.unreadable(Faults, err)
	}
	for i := range rules {
		r := &rules[i]
		if !r.matches(q) || !s.faults.take(f.text, r) {
			continue
		}
		s.log.Info("fault", zap.String("rule", r.line), zap.String("service", q.service), zap.String("operation", q.operation), zap.Strings("names", q.names))
		if r.word != "slow" {
			answer := faultAnswers[r.word][1]
			if q.service == "s3" {
				answer = faultAnswers[r.word][0]
			}
			return &answer
		}
		timer := time.NewTimer(r.delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}
