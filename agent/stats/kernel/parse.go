package kernel

import (
	"bytes"
	"fmt"
	"math"

	"ecsagent/agent/stats"
)

// number reads a file that holds one number, or the word max for no limit.
func number(to func(*stats.Sample) *uint64) func([]byte, *stats.Sample) error {
	return func(text []byte, s *stats.Sample) (err error) {
		*to(s), err = parseNumber(bytes.TrimSpace(text))
		return err
	}
}

func parseNumber(text []byte) (uint64, error) {
	if string(text) == "max" {
		return math.MaxUint64, nil
	}
	var n uint64
	for _, d := range text {
		if d < '0' || d > '9' {
			return 0, fmt.Errorf("parse counter: %.40q is no number", text)
		}
		if n > (math.MaxUint64-uint64(d-'0'))/10 {
			return 0, fmt.Errorf("parse counter: %.40q has more than 64 bits", text)
		}
		n = n*10 + uint64(d-'0')
	}
	if len(text) == 0 {
		return 0, fmt.Errorf("parse counter: no number")
	}
	return n, nil
}

// eachLine calls fn with each line that is not empty, until it fails.
func eachLine(text []byte, fn func(line []byte) error) error {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if len(line) == 0 {
			continue
		}
		if err := fn(line); err != nil {
			return err
		}
	}
	return nil
}

// eachPair calls fn with each line "key number".
func eachPair(text []byte, fn func(key []byte, value uint64)) error {
	return eachLine(text, func(line []byte) error {
		key, digits, _ := bytes.Cut(line, []byte{' '})
		value, err := parseNumber(bytes.TrimSpace(digits))
		if err != nil {
			return fmt.Errorf("%.40q: %w", key, err)
		}
		fn(key, value)
		return nil
	})
}

// next cuts the next word off a line.
func next(line []byte) (word, rest []byte) {
	start := 0
	for start < len(line) && (line[start] == ' ' || line[start] == '\t') {
		start++
	}
	end := start
	for end < len(line) && line[end] != ' ' && line[end] != '\t' {
		end++
	}
	return line[start:end], line[end:]
}

// parseDevice reads "major:minor".
func parseDevice(text []byte) (major, minor uint64, err error) {
	left, right, ok := bytes.Cut(text, []byte{':'})
	if !ok {
		return 0, 0, fmt.Errorf("parse block device: %.40q is not major:minor", text)
	}
	if major, err = parseNumber(left); err == nil {
		minor, err = parseNumber(right)
	}
	return major, minor, err
}
