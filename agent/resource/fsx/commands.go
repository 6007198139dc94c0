package fsx

import (
	"context"
	"fmt"
	"strings"
)

// Commands are Drives by way of PowerShell, which has the only documented calls for shares
// that all of the host sees.
type Commands struct {
	// Letters are those that something stands behind.
	Letters func() ([]string, error)
	// Run runs a script of PowerShell with variables, and returns what it prints. An error
	// has no values in it.
	Run func(ctx context.Context, script string, variables map[string]string) (string, error)
}

var _ Drives = Commands{}

// What others choose comes as variables: no part of a script is made of it.
const (
	stop      = "$ErrorActionPreference = 'Stop'; "
	mapScript = stop + "$p = ConvertTo-SecureString $env:ECS_FSX_PASSWORD -AsPlainText -Force; " +
		"$c = New-Object System.Management.Automation.PSCredential($env:ECS_FSX_USER, $p); " +
		"New-SmbGlobalMapping -LocalPath $env:ECS_FSX_DRIVE -RemotePath $env:ECS_FSX_SHARE -Credential $c -Persistent $true -RequirePrivacy $true | Out-Null"
	unmapScript = "Remove-SmbGlobalMapping -LocalPath $env:ECS_FSX_DRIVE -Force -ErrorAction SilentlyContinue; exit 0"
	showScript  = "(Get-SmbGlobalMapping -LocalPath $env:ECS_FSX_DRIVE -ErrorAction SilentlyContinue).RemotePath; exit 0"
)

// Used implements Drives.
func (c Commands) Used() ([]string, error) { return c.Letters() }

// Map implements Drives.
func (c Commands) Map(ctx context.Context, letter, share string, login Login) error {
	if _, err := c.Run(ctx, mapScript, map[string]string{
		"ECS_FSX_DRIVE": letter, "ECS_FSX_SHARE": share, "ECS_FSX_USER": login.User, "ECS_FSX_PASSWORD": login.Password.Reveal(),
	}); err != nil {
		return fmt.Errorf("map %s to %s: %w", letter, share, err)
	}
	at, err := c.Mapped(ctx, letter)
	if err == nil && !strings.EqualFold(at, share) {
		err = fmt.Errorf("it leads to %q", at)
	}
	if err != nil {
		return fmt.Errorf("map %s to %s: %w", letter, share, err)
	}
	return nil
}

// Unmap implements Drives.
func (c Commands) Unmap(ctx context.Context, letter string) error {
	_, err := c.Run(ctx, unmapScript, map[string]string{"ECS_FSX_DRIVE": letter})
	return err
}

// Mapped implements Drives.
func (c Commands) Mapped(ctx context.Context, letter string) (string, error) {
	out, err := c.Run(ctx, showScript, map[string]string{"ECS_FSX_DRIVE": letter})
	return strings.TrimSpace(out), err
}
