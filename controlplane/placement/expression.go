package placement

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxExpression is the length of the longest expression that ECS takes.
const MaxExpression = 2000

// Subject answers what an expression asks of a container instance. ok is false
// when the instance has no such attribute or the name is unknown.
type Subject interface {
	// Lookup returns the values of a name such as "attribute:ecs.os-type",
	// "ec2InstanceId", "agentConnected", "runningTasksCount" or "task:group".
	Lookup(name string) (values []string, ok bool)
}

// Expression is a statement of the cluster query language.
type Expression struct{ eval func(Subject) bool }

// Match reports whether the subject satisfies the expression. The zero
// Expression matches everything.
func (e Expression) Match(s Subject) bool { return e.eval == nil || e.eval(s) }

// Parse reads a statement of the cluster query language: comparisons joined with
// and, or, not and parentheses.
func Parse(text string) (Expression, error) {
	if len(text) > MaxExpression {
		return Expression{}, fmt.Errorf("expression is %d characters long: at most %d", len(text), MaxExpression)
	}
	tokens, err := scan(text)
	if err != nil {
		return Expression{}, err
	}
	p := &parser{tokens: tokens}
	eval, err := p.or()
	if err != nil {
		return Expression{}, err
	}
	if t := p.peek(); t != "" {
		return Expression{}, fmt.Errorf("unexpected %q in expression", t)
	}
	return Expression{eval}, nil
}

var token = regexp.MustCompile(`^(?:"[^"]*"|==|!=|>=|<=|=~|!~|&&|\|\||[()\[\],><!]|[^\s()\[\],"=!<>&|]+)`)

func scan(text string) ([]string, error) {
	var tokens []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		t := token.FindString(text)
		if t == "" {
			return nil, fmt.Errorf("unexpected %q in expression", firstRune(text))
		}
		tokens, text = append(tokens, t), text[len(t):]
	}
	return tokens, nil
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// parser is a recursive descent parser. The length limit of Parse bounds its
// depth.
type parser struct {
	tokens []string
	pos    int
}

func (p *parser) peek() string {
	if p.pos < len(p.tokens) {
		return p.tokens[p.pos]
	}
	return ""
}

func (p *parser) next() string {
	t := p.peek()
	p.pos++
	return t
}

func (p *parser) accept(words ...string) bool {
	if t := p.peek(); t != "" && slices.Contains(words, strings.ToLower(t)) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) or() (func(Subject) bool, error) {
	left, err := p.and()
	for err == nil && p.accept("or", "||") {
		var right func(Subject) bool
		a := left
		right, err = p.and()
		left = func(s Subject) bool { return a(s) || right(s) }
	}
	return left, err
}

func (p *parser) and() (func(Subject) bool, error) {
	left, err := p.unary()
	for err == nil && p.accept("and", "&&") {
		var right func(Subject) bool
		a := left
		right, err = p.unary()
		left = func(s Subject) bool { return a(s) && right(s) }
	}
	return left, err
}

func (p *parser) unary() (func(Subject) bool, error) {
	if p.accept("not", "!") {
		inner, err := p.unary()
		return func(s Subject) bool { return !inner(s) }, err
	}
	if p.accept("(") {
		inner, err := p.or()
		if err == nil && !p.accept(")") {
			err = fmt.Errorf("missing ) in expression")
		}
		return inner, err
	}
	return p.comparison()
}

func (p *parser) comparison() (func(Subject) bool, error) {
	name := p.next()
	if !knownSubject(name) {
		return nil, fmt.Errorf("unknown subject %q in expression", name)
	}
	op := strings.ToLower(p.next())
	switch op {
	case "exists", "!":
		if op == "!" && !p.accept("exists") {
			return nil, fmt.Errorf("unexpected ! after %q in expression", name)
		}
		want := op == "exists"
		return func(s Subject) bool { _, ok := s.Lookup(name); return ok == want }, nil
	case "not_exists":
		return func(s Subject) bool { _, ok := s.Lookup(name); return !ok }, nil
	case "in", "not_in":
		list, err := p.list()
		return func(s Subject) bool {
			return anyValue(s, name, func(v string) bool { return slices.Contains(list, v) }) == (op == "in")
		}, err
	}
	arg := unquote(p.next())
	if arg == "" {
		return nil, fmt.Errorf("missing value after %q in expression", name)
	}
	return compare(name, op, arg)
}

func compare(name, op, arg string) (func(Subject) bool, error) {
	equal := func(s Subject) bool { return anyValue(s, name, func(v string) bool { return v == arg }) }
	switch op {
	case "==", "equals":
		return equal, nil
	case "!=", "not_equals":
		return func(s Subject) bool { return !equal(s) }, nil
	case "=~", "matches", "!~", "not_matches":
		re, err := regexp.Compile("^(?:" + arg + ")$")
		if err != nil {
			return nil, fmt.Errorf("invalid pattern %q in expression: %w", arg, err)
		}
		want := op == "=~" || op == "matches"
		return func(s Subject) bool { return anyValue(s, name, re.MatchString) == want }, nil
	case ">", "greater_than":
		return order(name, arg, func(c int) bool { return c > 0 }), nil
	case ">=", "greater_than_equal":
		return order(name, arg, func(c int) bool { return c >= 0 }), nil
	case "<", "less_than":
		return order(name, arg, func(c int) bool { return c < 0 }), nil
	case "<=", "less_than_equal":
		return order(name, arg, func(c int) bool { return c <= 0 }), nil
	}
	return nil, fmt.Errorf("unknown operator %q in expression", op)
}

// order compares as numbers where both are, else as text.
func order(name, arg string, want func(int) bool) func(Subject) bool {
	return func(s Subject) bool {
		return anyValue(s, name, func(v string) bool {
			a, errA := strconv.ParseFloat(v, 64)
			b, errB := strconv.ParseFloat(arg, 64)
			if errA != nil || errB != nil {
				return want(strings.Compare(v, arg))
			}
			switch {
			case a < b:
				return want(-1)
			case a > b:
				return want(1)
			}
			return want(0)
		})
	}
}

func (p *parser) list() ([]string, error) {
	if !p.accept("[") {
		return nil, fmt.Errorf("missing [ in expression")
	}
	var list []string
	for !p.accept("]") {
		t := p.next()
		if t == "" || strings.ContainsAny(t, "[(),") && t[0] != '"' {
			return nil, fmt.Errorf("missing ] in expression")
		}
		list = append(list, unquote(t))
		p.accept(",")
	}
	return list, nil
}

func anyValue(s Subject, name string, match func(string) bool) bool {
	values, ok := s.Lookup(name)
	return ok && slices.ContainsFunc(values, match)
}

func unquote(t string) string { return strings.Trim(t, `"`) }

// knownSubject reports whether the query language has the name.
func knownSubject(name string) bool {
	switch name {
	case "agentConnected", "agentVersion", "dockerVersion", "ec2InstanceId", "containerInstanceArn", "registeredAt",
		"runningTasksCount", "pendingTasksCount", "status", "task:group":
		return true
	}
	attribute, ok := strings.CutPrefix(name, "attribute:")
	return ok && attribute != ""
}
