package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Kind is a kind of fault, as its path names it.
type Kind string

// Kinds of faults.
const (
	Blackhole Kind = "network-blackhole-port"
	Latency   Kind = "network-latency"
	Loss      Kind = "network-packet-loss"
)

// label is how a kind is called in messages.
func (k Kind) label() string { return strings.ReplaceAll(string(k), "-", " ") }

// Spec is a fault that was asked for and is well formed.
type Spec struct {
	Kind     Kind
	Port     uint16   `json:",omitempty"` // Blackhole
	Protocol string   `json:",omitempty"` // tcp or udp
	Traffic  string   `json:",omitempty"` // ingress or egress
	Delay    uint64   `json:",omitempty"` // Latency, ms
	Jitter   uint64   `json:",omitempty"`
	Percent  int      `json:",omitempty"` // Loss
	Sources  []string `json:",omitempty"` // destinations that are disturbed
	Spared   []string `json:",omitempty"` // SourcesToFilter
	Flows    int      `json:",omitempty"` // percentage of flows that are disturbed
}

// blackholeBody, latencyBody and lossBody are what callers send. Keys that do not count
// are passed over, and names match without regard to case.
type blackholeBody struct {
	Port            *uint16
	Protocol        *string
	TrafficType     *string
	SourcesToFilter []*string
}

type impairment struct {
	Sources         []*string
	SourcesToFilter []*string
	FlowsPercent    *int
}

type latencyBody struct {
	DelayMilliseconds  *uint64
	JitterMilliseconds *uint64
	impairment
}

type lossBody struct {
	LossPercent *int
	impairment
}

// parse reads the body of a request. Texts of errors are those of docs/spec/04 section
// 5.4.
func parse(kind Kind, body io.Reader) (Spec, error) {
	s := Spec{Kind: kind}
	switch kind {
	case Blackhole:
		var in blackholeBody
		if err := decode(body, &in); err != nil {
			return s, err
		}
		return s, s.blackhole(&in)
	case Latency:
		var in latencyBody
		if err := decode(body, &in); err != nil {
			return s, err
		}
		switch {
		case in.DelayMilliseconds == nil:
			return s, missing("DelayMilliseconds")
		case in.JitterMilliseconds == nil:
			return s, missing("JitterMilliseconds")
		case *in.DelayMilliseconds == 0 && *in.JitterMilliseconds == 0:
			return s, errors.New("required either DelayMilliseconds or JitterMilliseconds to be non-zero")
		}
		s.Delay, s.Jitter = *in.DelayMilliseconds, *in.JitterMilliseconds
		return s, s.impair(&in.impairment)
	default:
		var in lossBody
		if err := decode(body, &in); err != nil {
			return s, err
		}
		if in.LossPercent == nil {
			return s, missing("LossPercent")
		}
		if *in.LossPercent < 1 || *in.LossPercent > 100 {
			return s, invalid(*in.LossPercent, "LossPercent")
		}
		s.Percent = *in.LossPercent
		return s, s.impair(&in.impairment)
	}
}

// maxAddresses bounds the lists of a request: each becomes a rule.
const maxAddresses = 1000

func decode(body io.Reader, in any) error {
	err := json.NewDecoder(body).Decode(in)
	if errors.Is(err, io.EOF) {
		return errors.New("required request body is missing")
	}
	return err
}

func (s *Spec) blackhole(in *blackholeBody) error {
	switch {
	case in.Port == nil:
		return missing("Port")
	case in.Protocol == nil:
		return missing("Protocol")
	case in.TrafficType == nil:
		return missing("TrafficType")
	case *in.Protocol != "tcp" && *in.Protocol != "udp":
		return invalid(*in.Protocol, "Protocol")
	case *in.TrafficType != "ingress" && *in.TrafficType != "egress":
		return invalid(*in.TrafficType, "TrafficType")
	}
	s.Port, s.Protocol, s.Traffic = *in.Port, *in.Protocol, *in.TrafficType
	var err error
	s.Spared, err = addresses(in.SourcesToFilter, "SourcesToFilter")
	return err
}

func (s *Spec) impair(in *impairment) (err error) {
	if len(in.Sources) == 0 {
		return missing("Sources")
	}
	if s.Sources, err = addresses(in.Sources, "Sources"); err != nil {
		return err
	}
	if s.Spared, err = addresses(in.SourcesToFilter, "SourcesToFilter"); err != nil {
		return err
	}
	s.Flows = 100
	if in.FlowsPercent != nil {
		if s.Flows = *in.FlowsPercent; s.Flows < 1 || s.Flows > 100 {
			return invalid(s.Flows, "flowsPercent")
		}
	}
	return nil
}

func addresses(list []*string, name string) (out []string, err error) {
	if len(list) > maxAddresses {
		return nil, invalid(fmt.Sprintf("of %d entries", len(list)), name)
	}
	for _, entry := range list {
		if entry == nil {
			return nil, invalid("null", name)
		}
		if _, err := prefix(*entry); err != nil {
			return nil, invalid(*entry, name)
		}
		out = append(out, *entry)
	}
	return out, nil
}

// prefix reads an address or a CIDR block.
func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

func missing(name string) error { return fmt.Errorf("required parameter %s is missing", name) }

func invalid(value any, name string) error {
	return fmt.Errorf("invalid value %v for parameter %s", value, name)
}
