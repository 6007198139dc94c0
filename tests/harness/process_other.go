//go:build !linux

package harness

import (
	"os"
	"os/exec"
)

var terminate = os.Kill

func start(cmd *exec.Cmd) error { return cmd.Start() }
