package app

import (
	"ecsagent/agent/capability"
	"ecsagent/agent/credentials"
	"ecsagent/agent/engine"
	"ecsagent/agent/resource/secrets"
)

// hostHooks make the resources that only tasks of Windows have.
func (a *agent) hostHooks(*credentials.Store, *secrets.Hook, *secrets.Hook) []engine.Hook { return nil }

// windowsFacts is what a Windows can give tasks.
func (a *agent) windowsFacts() capability.Facts { return capability.Facts{} }
