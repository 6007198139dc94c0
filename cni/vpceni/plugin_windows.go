package vpceni

import (
	"ecsagent/cni/plugin"
	"ecsagent/cni/vswitch"
	"ecsagent/platform_windows/adapters"
	"ecsagent/platform_windows/hns"
)

// Plugin is vpc-eni.
func Plugin() plugin.Plugin {
	return vswitch.Plugin(vswitch.Host{Switch: hns.Service{}, Adapters: adapters.System{}})
}
