package tasknet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// execer starts plugins for the CNI library. Other than the library's own it tells
// plugins more, and kills what a hanging plugin has started along with it.
type execer struct {
	version.PluginDecoder
	env []string
}

var _ invoke.Exec = (*execer)(nil)

// NewExec returns what starts plugins, which are told env besides CNI's variables.
func NewExec(env []string) invoke.Exec { return &execer{env: env} }

// killWait is how long the output of a killed plugin is waited for.
const killWait = time.Second

// errKilled says that a signal ended a plugin.
var errKilled = errors.New("it was killed")

// ExecPlugin implements invoke.Exec.
func (e *execer) ExecPlugin(ctx context.Context, path string, config []byte, environ []string) ([]byte, error) {
	c := exec.CommandContext(ctx, path)
	var out, errs bytes.Buffer
	c.Env = append(environ, e.env...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(config), &out, &errs
	c.WaitDelay = killWait
	err := runWhole(c)
	if err == nil {
		return out.Bytes(), nil
	}
	var said types.Error
	if json.Unmarshal(out.Bytes(), &said) == nil && said.Msg != "" {
		return nil, &said
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == -1 { // by a signal
		err = fmt.Errorf("%w: %w", errKilled, err)
	}
	text := strings.TrimSpace(errs.String() + out.String())
	const longest = 500
	return nil, fmt.Errorf("plugin %s: %w: %s", path, err, text[:min(len(text), longest)])
}

// FindInPath implements invoke.Exec.
func (e *execer) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}
