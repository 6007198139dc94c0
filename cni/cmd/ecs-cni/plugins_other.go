//go:build !linux && !windows

package main

import "ecsagent/cni/plugin"

// plugins is empty where there are none.
var plugins []func() plugin.Plugin
