package tasknet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// verifyLimit bounds each question to a plugin.
const verifyLimit = 10 * time.Second

// capability is what a plugin has to have (docs/spec/05 section 4.2).
const capability = "awsvpc-network-mode"

// Verify asks a plugin whether it is what a task's network needs, and returns its
// version as ECS shows it.
func Verify(ctx context.Context, dir, plugin string) (version string, err error) {
	path := filepath.Join(dir, plugin)
	var can struct{ Capabilities []string }
	if err := ask(ctx, path, "--capabilities", &can); err != nil {
		return "", err
	}
	if plugin != "aws-appmesh" && plugin != "ecs-serviceconnect" && !slices.Contains(can.Capabilities, capability) {
		return "", fmt.Errorf("plugin '%s' doesn't support the capability: %s", plugin, capability)
	}
	var is struct {
		Version, GitShortHash string
		Dirty                 bool
	}
	if err := ask(ctx, path, "--version", &is); err != nil {
		return "", err
	}
	version = is.GitShortHash + "-" + is.Version
	if is.Dirty {
		version = "@" + version
	}
	return version, nil
}

func ask(ctx context.Context, path, question string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	c := exec.CommandContext(ctx, path, question)
	var out bytes.Buffer
	c.Stdout, c.WaitDelay = &out, killWait
	err := runWhole(c)
	if err == nil {
		err = json.Unmarshal(out.Bytes(), into)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("plugin %s is missing (ECS_CNI_PLUGINS_PATH): %w", path, err)
	case err != nil:
		return fmt.Errorf("plugin %s does not answer %s: %w", path, question, err)
	}
	return nil
}
