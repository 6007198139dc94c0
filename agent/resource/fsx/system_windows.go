package fsx

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// commandLimit bounds one script.
const commandLimit = 2 * time.Minute

// System are the drives of this host.
func System() Commands { return Commands{Letters: letters, Run: powerShell} }

// letters are those of drives of any kind.
func letters() (list []string, err error) {
	mask, err := windows.GetLogicalDrives()
	if err != nil {
		return nil, fmt.Errorf("list the drives: %w", err)
	}
	for ; mask != 0; mask &= mask - 1 {
		list = append(list, string(rune('A'+bits.TrailingZeros32(mask)))+":")
	}
	return list, nil
}

func powerShell(ctx context.Context, script string, variables map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return "", fmt.Errorf("find PowerShell: %w", err)
	}
	c := exec.CommandContext(ctx, filepath.Join(system, `WindowsPowerShell\v1.0\powershell.exe`), "-NoProfile", "-NonInteractive", "-Command", script)
	c.Env = os.Environ()
	for k, v := range variables {
		c.Env = append(c.Env, k+"="+v)
	}
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NO_WINDOW}
	// What a console is made of may hold the output open longer than the program lives.
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return string(out), nil
	}
	const longest = 500
	text := strings.Join(strings.Fields(string(out)), " ")
	if secret := variables["ECS_FSX_PASSWORD"]; secret != "" {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return "", fmt.Errorf("PowerShell: %w: %s", err, text[:min(len(text), longest)])
}
