//go:build !linux

package main

import "github.com/spf13/cobra"

// actions is empty where the kernel is not Linux: hosts are prepared there by the agent
// itself.
func actions() []*cobra.Command { return nil }
