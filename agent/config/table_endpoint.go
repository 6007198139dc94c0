package config

// endpointSettings are ours: how the server that tasks talk to keeps and binds
// credentials.
func endpointSettings() []Setting {
	return []Setting{
		both("true", Setting{
			Name: "ECS_BIND_CREDENTIALS_TO_TASK", Ours: true,
			Text: "A task that asks with another task's credentials or endpoint id is refused, and a task that asks with an execution role's. " +
				"Who asks is known by the address of its container or task; processes of the host are taken by the id alone.",
			value: as(boolean, func(c *Config) *bool { return &c.BindCredentials }),
		}),
		{
			Name: "ECS_CREDENTIALS_DIR", Ours: true, On: onLinux, Linux: "/run/ecs-agent",
			Text: "Folder, on a file system that is in memory, where role credentials outlive a restart of the agent; " +
				"under a service manager that keeps descriptors (`FDSTORE`) they stay with it instead. `off` keeps none.",
			value: as(path, func(c *Config) *string { return &c.CredentialsDir }),
		},
	}
}
