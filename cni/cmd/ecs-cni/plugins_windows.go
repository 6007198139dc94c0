package main

import (
	"ecsagent/cni/plugin"
	"ecsagent/cni/vpceni"
)

var plugins = []func() plugin.Plugin{vpceni.Plugin}
