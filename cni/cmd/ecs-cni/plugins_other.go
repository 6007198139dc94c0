//go:build !linux

package main

import "ecsagent/cni/plugin"

// plugins is empty where the kernel is not Linux.
var plugins []func() plugin.Plugin
