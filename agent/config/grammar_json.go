package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	"ecsagent/agent/secret"
)

// Values that are themselves JSON, and the other composite ones.

// firstValue returns the first JSON value of the text. What follows it was never
// read (docs/spec/03 section 1.3), so it is only worth a remark.
func firstValue(s string) (json.RawMessage, error) {
	dec := json.NewDecoder(strings.NewReader(s))
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		hint := ""
		if strings.Contains(s, `\"`) {
			hint = `; backslashes are not removed, write plain quotes`
		}
		return nil, errors.New("is not JSON" + hint)
	}
	if rest := strings.TrimSpace(s[dec.InputOffset():]); rest != "" {
		return raw, remark("has text after the JSON value, which is ignored")
	}
	return raw, nil
}

// parseFirst decodes the first JSON value of a text, keeping the remark about what
// follows.
func parseFirst[T any](s string, decode func(json.RawMessage) (T, error)) (T, error) {
	raw, err := firstValue(s)
	if fatal, _ := problemOf(err); fatal != "" {
		var zero T
		return zero, err
	}
	v, decodeErr := decode(raw)
	if decodeErr != nil {
		return v, decodeErr
	}
	return v, err
}

// ports is a JSON array of port numbers. A list with one bad element is rejected
// as a whole (docs/spec/03 section 8.33).
var ports = grammar[[]uint16]{
	kind: "JSON array of ports", want: "a JSON array of ports such as [22,8080]",
	parse:  func(s string) ([]uint16, error) { return parseFirst(s, decodePorts) },
	decode: decodePorts,
	format: func(v []uint16) string {
		words := make([]string, len(v))
		for i, p := range v {
			words[i] = strconv.Itoa(int(p))
		}
		return "[" + strings.Join(words, ",") + "]"
	},
	unset: func(v []uint16) bool { return len(v) == 0 },
}

func decodePorts(raw json.RawMessage) ([]uint16, error) {
	items, err := array(raw)
	if err != nil {
		return nil, err
	}
	list := make([]uint16, 0, len(items))
	for i, item := range items {
		var p uint16
		if json.Unmarshal(item, &p) != nil || isNull(item) {
			return nil, fmt.Errorf("has element %d, %s, which is not a port from 0 to 65535; the whole list is left out", i+1, clip(string(item)))
		}
		list = append(list, p)
	}
	return list, nil
}

func array(raw json.RawMessage) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil, errors.New("is not a JSON array")
	}
	return items, nil
}

var stringList = grammar[[]string]{
	kind: "JSON array of strings", want: `a JSON array of strings such as ["json-file","none"]`,
	parse:  func(s string) ([]string, error) { return parseFirst(s, decodeStrings) },
	decode: decodeStrings,
	format: compactJSON[[]string],
	unset:  func(v []string) bool { return len(v) == 0 },
}

func decodeStrings(raw json.RawMessage) ([]string, error) {
	items, err := array(raw)
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, len(items))
	for i, item := range items {
		var s string
		if json.Unmarshal(item, &s) != nil || isNull(item) {
			return nil, fmt.Errorf("has element %d, %s, which is not a string; the whole list is left out", i+1, clip(string(item)))
		}
		list = append(list, s)
	}
	return list, nil
}

// commaList is text split at commas, elements as they are.
var commaList = grammar[[]string]{
	kind: "comma-separated list", want: "a comma-separated list",
	parse:  func(s string) ([]string, error) { return strings.Split(s, ","), nil },
	decode: decodeStrings,
	format: func(v []string) string { return strings.Join(v, ",") },
	unset:  func(v []string) bool { return len(v) == 0 },
}

// stringMap is a JSON object of strings; a malformed one makes it impossible to run
// when fatal is set.
func stringMap(fatal bool) grammar[map[string]string] {
	return grammar[map[string]string]{
		kind: "JSON object of strings", want: `a JSON object of strings such as {"stack":"prod"}`,
		fatal: fatal,
		parse: func(s string) (map[string]string, error) {
			raw, err := firstValue(s)
			if err != nil {
				var r remark
				if errors.As(err, &r) {
					return nil, errors.New("has text after the JSON object")
				}
				return nil, err
			}
			return decodeMap(raw)
		},
		decode: decodeMap,
		format: compactJSON[map[string]string],
		unset:  func(v map[string]string) bool { return len(v) == 0 },
	}
}

func decodeMap(raw json.RawMessage) (map[string]string, error) {
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	var note error
	m := make(map[string]string, len(members))
	for _, member := range members {
		s, err := jsonString(member.raw)
		if err != nil || isNull(member.raw) {
			return nil, fmt.Errorf("has member %q, which is not a string", clip(member.name))
		}
		if _, dup := m[member.name]; dup {
			note = remark(fmt.Sprintf("has member %q twice; the last one is used", clip(member.name)))
		}
		m[member.name] = s
	}
	return m, note
}

// prefixes is a JSON array of CIDR strings.
var prefixes = grammar[[]netip.Prefix]{
	kind: "JSON array of CIDR blocks", want: `a JSON array of CIDR blocks such as ["10.0.0.0/16"]`,
	fatal:  true,
	parse:  func(s string) ([]netip.Prefix, error) { return parseFirst(s, decodePrefixes) },
	decode: decodePrefixes,
	format: compactJSON[[]netip.Prefix],
	unset:  func(v []netip.Prefix) bool { return len(v) == 0 },
}

func decodePrefixes(raw json.RawMessage) ([]netip.Prefix, error) {
	items, err := array(raw)
	if err != nil {
		return nil, err
	}
	list := make([]netip.Prefix, 0, len(items))
	for i, item := range items {
		p, err := decodePrefix(item)
		if err != nil {
			return nil, fmt.Errorf("has element %d, %s, which is not a CIDR block", i+1, clip(string(item)))
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func decodePrefix(raw json.RawMessage) (netip.Prefix, error) {
	s, err := jsonString(raw)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("is not a CIDR block")
	}
	return p, nil
}

// prefix is one address with its prefix length, JSON only.
var prefix = grammar[netip.Prefix]{
	kind: "address with prefix length", want: `an address with its prefix length such as "169.254.172.2/22"`,
	parse: func(s string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, errors.New("is not an address with its prefix length")
		}
		return p, nil
	},
	decode: decodePrefix,
	format: func(p netip.Prefix) string {
		if !p.IsValid() {
			return ""
		}
		return p.String()
	},
	unset: func(p netip.Prefix) bool { return !p.IsValid() },
}

// authData is the JSON document with registry credentials. Nothing of it is ever
// part of a message.
var authData = grammar[secret.String]{
	kind: "JSON object", want: "a JSON object keyed by registry",
	parse: func(s string) (secret.String, error) {
		return decodeAuth(json.RawMessage(s))
	},
	decode: decodeAuth,
	format: secret.String.String,
	unset:  func(s secret.String) bool { return s == "" },
}

func decodeAuth(raw json.RawMessage) (secret.String, error) {
	if _, err := object(raw); err != nil {
		return "", errors.New("is not a JSON object")
	}
	return secret.String(bytes.TrimSpace(raw)), nil
}

var secretText = grammar[secret.String]{
	kind:   "text",
	parse:  func(s string) (secret.String, error) { return secret.String(s), nil },
	format: secret.String.String,
	unset:  func(s secret.String) bool { return s == "" },
}

// portRange is "first-last" or one port.
var portRange = grammar[PortRange]{
	kind: "port range", want: `a port range such as "49153-65535"`,
	parse: parsePortRange,
	format: func(r PortRange) string {
		return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
	},
	unset: func(r PortRange) bool { return r == PortRange{} },
}

func parsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	switch {
	case errA != nil || errB != nil || a == 0 || b == 0:
		return PortRange{}, errors.New("is not a port range")
	case a > b:
		return PortRange{}, errors.New("starts after its end")
	}
	return PortRange{First: uint16(a), Last: uint16(b)}, nil
}

// rateLimit is "rate,burst".
var rateLimit = grammar[RateLimit]{
	kind: "`rate,burst`", want: `two whole numbers above 0 such as "40,60"`, trim: true,
	parse: func(s string) (RateLimit, error) {
		steady, burst, ok := strings.Cut(s, ",")
		a, errA := strconv.Atoi(strings.TrimSpace(steady))
		b, errB := strconv.Atoi(strings.TrimSpace(burst))
		if !ok || errA != nil || errB != nil {
			return RateLimit{}, errors.New("is not two whole numbers")
		}
		if a <= 0 || b <= 0 {
			return RateLimit{}, errors.New("has a number that is not above 0")
		}
		return RateLimit{Steady: a, Burst: b}, nil
	},
	format: func(r RateLimit) string { return strconv.Itoa(r.Steady) + "," + strconv.Itoa(r.Burst) },
}

// member is one member of a JSON object, with where its name ends in the document.
type member struct {
	name   string
	raw    json.RawMessage
	offset int64
}

// object returns the members of a JSON object in order, duplicates included. The
// error's text begins with "is not"; null is an object without members.
func object(raw json.RawMessage) ([]member, error) {
	if !json.Valid(raw) {
		return nil, errors.New("is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	start, err := dec.Token()
	if err != nil {
		return nil, errors.New("is not JSON")
	}
	if start == nil {
		return nil, nil
	}
	if start != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("is not JSON: %w", err)
		}
		m := member{offset: dec.InputOffset()}
		m.name, _ = name.(string)
		if err := dec.Decode(&m.raw); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("is not JSON: %w", err)
		}
		members = append(members, m)
	}
	return members, nil
}

// compactJSON writes a value as JSON on one line, members sorted, and nothing for
// an empty one.
func compactJSON[T any](v T) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	s := strings.TrimSpace(b.String())
	if s == "null" {
		return ""
	}
	return s
}

// clip keeps a message short when it quotes what it found.
func clip(s string) string {
	const limit = 60
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit]) + "…"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
