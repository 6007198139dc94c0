package config

import "ecsagent/agent/secret"

// Headings of the reference page, in its order.
const (
	sectionIdentity  = "Identity, cluster, endpoint"
	sectionDocker    = "Docker engine and registry authentication"
	sectionState     = "State, data, files"
	sectionTimeouts  = "Time limits and clean-up"
	sectionRoles     = "Task roles, metadata endpoint, audit"
	sectionNetwork   = "Networking"
	sectionLimits    = "Resource limits"
	sectionMetrics   = "Metrics and diagnostics"
	sectionLogging   = "Logging"
	sectionDevices   = "GPU, accelerators, EBS, gMSA, FSx"
	sectionLifecycle = "Instance lifecycle"
	sectionSDK       = "Read by the AWS SDK and the HTTP stack"
	sectionInit      = "Host preparation"
	sectionInert     = "Accepted without effect"
)

// Settings returns the table, section by section.
func Settings() []Setting {
	all := make([]Setting, 0, 256)
	for _, part := range []struct {
		section string
		rows    []Setting
	}{
		{sectionIdentity, identitySettings()},
		{sectionDocker, dockerSettings()},
		{sectionState, stateSettings()},
		{sectionTimeouts, timeoutSettings()},
		{sectionRoles, append(roleSettings(), endpointSettings()...)},
		{sectionNetwork, append(networkSettings(), ruleSettings()...)},
		{sectionLimits, limitSettings()},
		{sectionMetrics, metricsSettings()},
		{sectionLogging, logSettings()},
		{sectionDevices, deviceSettings()},
		{sectionLifecycle, lifecycleSettings()},
		{sectionSDK, sdkSettings()},
		{sectionInit, initSettings()},
		{sectionInert, inertSettings()},
	} {
		for _, s := range part.rows {
			s.Section = part.section
			all = append(all, s)
		}
	}
	return all
}

// both gives a row the same default on both systems.
func both(def string, s Setting) Setting {
	s.Linux, s.Windows = def, def
	return s
}

// Conditions that several rows share.
var (
	taskENIOn    = condition{"`ECS_ENABLE_TASK_ENI` is on", func(c *Config) bool { return c.TaskENI }}
	cleanupOn    = condition{"`ECS_DISABLE_IMAGE_CLEANUP` is off", func(c *Config) bool { return !c.ImageCleanupDisabled }}
	untrackedOn  = condition{"`ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP` is on", func(c *Config) bool { return c.UntrackedImageCleanup }}
	taskLimitsOn = condition{"`ECS_ENABLE_TASK_CPU_MEM_LIMIT` is on", func(c *Config) bool { return c.TaskCPUMemLimit }}
	gpuOn        = condition{"`ECS_ENABLE_GPU_SUPPORT` is on", func(c *Config) bool { return c.GPUSupport }}
	gmsaOn       = condition{"`ECS_GMSA_SUPPORTED` is on", func(c *Config) bool { return c.GMSA }}
	updatesOn    = condition{"`ECS_UPDATES_ENABLED` is on", func(c *Config) bool { return c.UpdatesEnabled }}
	ebsOn        = condition{"`ECS_EBSTA_SUPPORTED` is on", func(c *Config) bool { return c.EBSTaskAttach }}
	auditOn      = condition{"`ECS_AUDIT_LOGFILE_DISABLED` is off", func(c *Config) bool { return !c.AuditLogDisabled }}
	onEC2        = condition{"`ECS_EXTERNAL` is off", func(c *Config) bool { return !c.External }}
	logFileSet   = condition{"`ECS_LOGFILE` is set", func(c *Config) bool { return c.Log.File != "" }}
)

func identitySettings() []Setting {
	return []Setting{
		{
			Name: "ECS_CLUSTER", JSON: "Cluster", JSONAlias: "ClusterArn",
			Text:   "Name or ARN of the cluster. Unset: `default`, created if it does not exist.",
			value:  as(trimmed, func(c *Config) *string { return &c.Cluster }),
			verify: verifyCluster,
		},
		{
			Name: "AWS_DEFAULT_REGION", JSON: "AWSRegion", Computed: "from the instance metadata",
			Text:   "Region for all AWS calls. `AWS_REGION` is not read. Must be set when `ECS_EXTERNAL` is on.",
			value:  as(trimmed, func(c *Config) *string { return &c.Region }),
			verify: verifyRegion, Passthrough: true,
		},
		{
			Name: "ECS_BACKEND_HOST", JSON: "APIEndpoint", Redact: redactUserinfo,
			Text:  "Endpoint of the ECS API in place of the region's. `https://` is put before a value without a scheme.",
			value: as(trimmed, func(c *Config) *string { return &c.APIEndpoint }),
		},
		both("false", Setting{
			Name: "ECS_EXTERNAL", JSON: "External",
			Text:  "This machine is registered with ECS Anywhere: no instance metadata, no identity document, another order of credentials, fewer capabilities.",
			value: as(boolean, func(c *Config) *bool { return &c.External }),
		}),
		{
			Name: "ECS_INSTANCE_IP_COMPATIBILITY", On: onLinux, Computed: "from the default routes",
			Text:  "IP family of the instance, `ipv4` or `ipv6`, when it is not to be found out. Use `ipv4` for dual-stack hosts.",
			value: as(foldedWord(nil, "ipv4", "ipv6"), func(c *Config) *string { return &c.InstanceIPFamily }),
		},
		{
			Name: "ECS_DETAILED_OS_FAMILY", On: onLinux, Computed: "`<ID>_<VERSION_ID>` of `/etc/os-release`, else `linux`",
			Text:  "Value of the attribute `ecs.os-type-detailed`. Set but empty: the attribute is left out.",
			value: as(textOrEmpty, func(c *Config) *string { return &c.DetailedOSFamily }), EmptyCounts: true,
		},
		both("0", Setting{
			Name: "ECS_RESERVED_MEMORY", JSON: "ReservedMemory",
			Text:  "MiB of memory that are not offered to tasks. Nothing is actually reserved.",
			value: as(uint16Number("MiB"), func(c *Config) *int { return &c.ReservedMemory }),
		}),
		{
			Name: "ECS_RESERVED_PORTS", JSON: "ReservedPorts",
			Linux: "[22,2375,2376,51678,51679]", Windows: "[2375,2376,51678,51679,3389,135,445,5985,5986,53,139]",
			Text: "TCP ports registered as unavailable; replaces the default list. " +
				"51680 is added if `ECS_ENABLE_PROMETHEUS_METRICS` is on (Linux), 80 if `ECS_ENABLE_TASK_IAM_ROLE` is on (Windows).",
			value: as(ports, func(c *Config) *[]uint16 { return &c.ReservedPorts }),
		},
		both("[]", Setting{
			Name: "ECS_RESERVED_PORTS_UDP", JSON: "ReservedPortsUDP",
			Text:  "UDP ports registered as unavailable.",
			value: as(ports, func(c *Config) *[]uint16 { return &c.ReservedPortsUDP }),
		}),
		{
			Name: "ECS_INSTANCE_ATTRIBUTES", JSON: "InstanceAttributes",
			Text:   "Custom attributes of the container instance, sent on its first registration only.",
			value:  as(stringMap(true), func(c *Config) *map[string]string { return &c.InstanceAttributes }),
			verify: verifyAttributes,
		},
		{
			Name: "ECS_CONTAINER_INSTANCE_TAGS", JSON: "ContainerInstanceTags",
			Text:   "Tags of the container instance, sent with every registration.",
			value:  as(stringMap(true), func(c *Config) *map[string]string { return &c.ContainerInstanceTags }),
			verify: verifyTags,
		},
		both("none", Setting{
			Name: "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM", JSON: "ContainerInstancePropagateTagsFrom",
			Needs: []condition{onEC2},
			Text:  "`ec2_instance`: the EC2 instance's tags are copied to the container instance.",
			value: as(word("none", "ec2_instance"), func(c *Config) *string { return &c.PropagateTagsFrom }),
		}),
	}
}

func dockerSettings() []Setting {
	return []Setting{
		{
			Name: "DOCKER_HOST", JSON: "DockerEndpoint", Passthrough: true,
			Linux: "unix:///var/run/docker.sock", Windows: "npipe:////./pipe/docker_engine",
			Text:   "Endpoint of the Docker API.",
			value:  as(text, func(c *Config) *string { return &c.DockerEndpoint }),
			verify: verifyDockerHost,
		},
		{
			Name: "ECS_ENGINE_AUTH_TYPE", JSON: "EngineAuthType",
			Text:   "Form of `ECS_ENGINE_AUTH_DATA`: `docker` or `dockercfg`.",
			value:  as(trimmed, func(c *Config) *string { return &c.EngineAuthType }),
			verify: verifyAuthType,
		},
		{
			Name: "ECS_ENGINE_AUTH_DATA", JSON: "EngineAuthData", Redact: redactAll,
			Needs: []condition{{"`ECS_ENGINE_AUTH_TYPE` is set", func(c *Config) bool { return c.EngineAuthType != "" }}},
			Text: "Credentials for private registries. With `docker`: object of registry to `username`, `password`, `email`. " +
				"With `dockercfg`: object of registry to `auth`, base64 of `user:password`.",
			value:  as(authData, func(c *Config) *secret.String { return &c.EngineAuthData }),
			verify: verifyAuthData,
		},
		{
			Name: "ECS_AVAILABLE_LOGGING_DRIVERS", JSON: "AvailableLoggingDrivers",
			Linux: `["json-file","syslog","awslogs","fluentd","none"]`, Windows: `["json-file","none","awslogs"]`,
			Text:   "Docker log drivers that tasks may use. A name that ECS does not know makes it impossible to start.",
			value:  as(stringList, func(c *Config) *[]string { return &c.AvailableLoggingDrivers }),
			verify: verifyLoggingDrivers,
		},
		both("false", Setting{
			Name: "ECS_DISABLE_PRIVILEGED", JSON: "PrivilegedDisabled",
			Text:  "Privileged containers are not offered.",
			value: as(boolean, func(c *Config) *bool { return &c.PrivilegedDisabled }),
		}),
		both("false", Setting{
			Name: "ECS_SELINUX_CAPABLE", JSON: "SELinuxCapable",
			Text:  "SELinux options are offered.",
			value: as(boolean, func(c *Config) *bool { return &c.SELinuxCapable }),
		}),
		both("false", Setting{
			Name: "ECS_APPARMOR_CAPABLE", JSON: "AppArmorCapable",
			Text:  "AppArmor options are offered.",
			value: as(boolean, func(c *Config) *bool { return &c.AppArmorCapable }),
		}),
		both("false", Setting{
			Name: "ECS_DISABLE_DOCKER_HEALTH_CHECK", JSON: "DisableDockerHealthCheck",
			Text:  "Container health is neither offered nor reported.",
			value: as(boolean, func(c *Config) *bool { return &c.DockerHealthCheckDisabled }),
		}),
		both("false", Setting{
			Name: "ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT", JSON: "DependentContainersPullUpfront",
			Text:  "Images are pulled before a container's `dependsOn` is satisfied.",
			value: as(boolean, func(c *Config) *bool { return &c.DependentContainersPullUpfront }),
		}),
		both("false", Setting{
			Name: "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG", JSON: "SharedVolumeMatchFullConfig",
			Text:  "Shared volumes are compared by driver options and labels too, not by name alone.",
			value: as(boolean, func(c *Config) *bool { return &c.SharedVolumeMatchFullConfig }),
		}),
		{
			Name: "ECS_VOLUME_PLUGIN_CAPABILITIES", JSON: "VolumePluginCapabilities", On: onLinux,
			Linux: `["efsAuth"]`,
			Text:  "Capabilities of the ECS volume plugin; `efsAuth` makes EFS volumes use it.",
			value: as(stringList, func(c *Config) *[]string { return &c.VolumePluginCapabilities }),
		},
		{
			Name: "ECS_DYNAMIC_HOST_PORT_RANGE", Windows: "49152-65535", JSONDead: "DynamicHostPortRange",
			Computed: "Linux: `/proc/sys/net/ipv4/ip_local_port_range`, else 49153-65535",
			Text:     "Host ports given to containers that ask for any.",
			value:    as(portRange, func(c *Config) *PortRange { return &c.DynamicHostPortRange }),
		},
		{
			Name: "ECS_EXCLUDE_IPV6_PORTBINDING", JSON: "ShouldExcludeIPv6PortBinding",
			Windows: "true", Computed: "Linux: `true`, but `false` on hosts with IPv6 only",
			Text:  "IPv6 port bindings are left out of what is reported to ECS.",
			value: as(boolean, func(c *Config) *bool { return &c.ExcludeIPv6PortBinding }),
		},
		both("true", Setting{
			Name: "ECS_ENABLE_FIRELENS_ASYNC", JSON: "FirelensAsyncEnabled",
			Text:  "The FireLens log driver connects in the background.",
			value: as(boolean, func(c *Config) *bool { return &c.FirelensAsync }),
		}),
		{
			Name:  "ECS_PAUSE_LABELS",
			Text:  "Labels added to pause containers.",
			value: as(stringMap(false), func(c *Config) *map[string]string { return &c.PauseLabels }),
		},
	}
}
