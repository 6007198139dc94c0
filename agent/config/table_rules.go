package config

// Who looks after the packet rules (ECS_HOST_RULES).
const (
	RulesByInit  = "ecs-init"
	RulesByAgent = "agent"
	RulesByNone  = "none"
)

func ruleSettings() []Setting {
	looked := condition{"`ECS_HOST_RULES` is not `none`", func(c *Config) bool { return c.HostRules != RulesByNone }}
	return []Setting{
		{
			Name: "ECS_HOST_RULES", Ours: true, On: onLinux, Linux: RulesByInit,
			Text: "Who gives 169.254.170.2 its path and guards it: `ecs-init` before it starts the agent, the `agent` while it runs, " +
				"or `none`, when the operator does. The agent checks them in each case but the last. " +
				"An agent that `ecs-init` started keeps them if this is not set. With `ecs-init`, task roles are offered to ECS only if the rules are there when the agent starts.",
			value: as(foldedWord(nil, RulesByInit, RulesByAgent, RulesByNone), func(c *Config) *string { return &c.HostRules }),
		},
		{
			Name: "ECS_AGENT_CONTAINER_IMAGE", Ours: true, On: onLinux,
			Text: "Image as which `ecs-init` runs the agent, in a container `ecs-agent` with the host's network and paths; it is loaded from `/var/cache/ecs/ecs-agent.tar` where Docker has none. " +
				"Empty: the agent is a program of the host.",
			value: as(text, func(c *Config) *string { return &c.AgentContainerImage }),
		},
		{
			Name: "ECS_HOST_RULES_BACKEND", Ours: true, On: onLinux, Linux: "auto", Needs: []condition{looked},
			Text: "How packet rules are made. `auto` is iptables where somebody uses that, Docker for example, else nftables.",
			value: as(foldedWord(nil, "auto", "nftables", "iptables", "iptables-legacy"),
				func(c *Config) *string { return &c.HostRulesBackend }),
		},
		{
			Name: "ECS_BRIDGE_BLOCK_IMDS", Ours: true, On: onLinux, Linux: "false", Needs: []condition{looked},
			Text:  "Tasks in mode `bridge`, and whatever else reaches the network through this host, cannot reach the instance metadata service, by IPv4 or IPv6.",
			value: as(boolean, func(c *Config) *bool { return &c.BridgeBlockIMDS }),
		},
	}
}
