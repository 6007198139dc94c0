package hostrules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Settings are the kernel settings below a directory, /proc/sys.
type Settings string

// ProcSys are those of this process's network namespace.
const ProcSys Settings = "/proc/sys"

func (s Settings) path(key string) string { return filepath.Join(string(s), filepath.FromSlash(key)) }

func (s Settings) get(key string) (string, error) {
	value, err := os.ReadFile(s.path(key))
	return strings.TrimSpace(string(value)), err
}

func (s Settings) set(key, value string) error {
	// Never created: a key that is missing is one that the kernel lacks.
	f, err := os.OpenFile(s.path(key), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Check says which settings differ from the plan.
func (s Settings) Check(p *Plan) (problems []Problem) {
	for _, want := range p.Sysctls {
		have, err := s.get(want.Key)
		switch {
		case errors.Is(err, fs.ErrNotExist) && want.Optional, err == nil && have == want.Value:
		case err != nil:
			problems = append(problems, Problem{"sysctl", fmt.Sprintf("cannot read %s: %v", dotted(want.Key), err)})
		default:
			problems = append(problems, Problem{"sysctl", fmt.Sprintf("%s is %s, not %s", dotted(want.Key), have, want.Value)})
		}
	}
	return problems
}

// Apply sets what differs.
func (s Settings) Apply(p *Plan) (changed bool, err error) {
	var failures []error
	for _, want := range p.Sysctls {
		if have, err := s.get(want.Key); err == nil && have == want.Value {
			continue
		}
		switch err := s.set(want.Key, want.Value); {
		case errors.Is(err, fs.ErrNotExist) && want.Optional:
		case err != nil:
			failures = append(failures, fmt.Errorf("set %s to %s: %w", dotted(want.Key), want.Value, err))
		default:
			changed = true
		}
	}
	return changed, errors.Join(failures...)
}

// Left says which settings Undo would change.
func (s Settings) Left(p *Plan) (problems []Problem) {
	for _, of := range p.Sysctls {
		if of.After == "" {
			continue
		}
		have, err := s.get(of.Key)
		after, afterErr := s.get(of.After)
		if err == nil && afterErr == nil && have != after {
			problems = append(problems, Problem{"sysctl", fmt.Sprintf("left over: %s is %s, not %s", dotted(of.Key), have, after)})
		}
	}
	return problems
}

// Undo gives settings back the value they have by default.
func (s Settings) Undo(p *Plan) error {
	var failures []error
	for _, of := range p.Sysctls {
		if of.After == "" {
			continue
		}
		value, err := s.get(of.After)
		if err == nil {
			err = s.set(of.Key, value)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("set %s back: %w", dotted(of.Key), err))
		}
	}
	return errors.Join(failures...)
}

func dotted(key string) string { return strings.ReplaceAll(key, "/", ".") }
