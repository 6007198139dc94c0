//go:build !windows

package main

import "github.com/spf13/cobra"

// serviceCommands is empty where there are no Windows services.
func serviceCommands() []*cobra.Command { return nil }
