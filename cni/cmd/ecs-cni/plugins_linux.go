package main

import (
	"ecsagent/cni/appmesh"
	"ecsagent/cni/branch"
	"ecsagent/cni/bridge"
	"ecsagent/cni/ipam"
	"ecsagent/cni/plugin"
	"ecsagent/cni/serviceconnect"
	"ecsagent/cni/vpceni"
)

var plugins = []func() plugin.Plugin{
	vpceni.Plugin, vpceni.Legacy, branch.Plugin, bridge.Plugin, ipam.Plugin, appmesh.Plugin, serviceconnect.Plugin,
}
