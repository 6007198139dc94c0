package config

import (
	"encoding/json"
	"net/netip"
	"time"
)

func roleSettings() []Setting {
	return []Setting{
		{
			Name: "ECS_ENABLE_TASK_IAM_ROLE", JSON: "TaskIAMRoleEnabled", Linux: "true", Windows: "false",
			Text:  "Task roles are offered for bridge and default networking. On Windows this reserves port 80.",
			value: as(boolean, func(c *Config) *bool { return &c.TaskIAMRole }),
		},
		{
			Name: "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", JSON: "TaskIAMRoleEnabledForNetworkHost", Linux: "true", Windows: "false",
			Text:  "Task roles are offered for host networking.",
			value: as(boolean, func(c *Config) *bool { return &c.TaskIAMRoleNetworkHost }),
		},
		{
			Name: "ECS_AUDIT_LOGFILE", JSON: "CredentialsAuditLogFile", Path: true, Needs: []condition{auditOn},
			Linux: "/var/log/ecs/audit.log", Windows: `%ProgramData%\Amazon\ECS\log\audit.log`,
			Text:  "File of the credential audit log.",
			value: as(path, func(c *Config) *string { return &c.AuditLogFile }),
		},
		both("false", Setting{
			Name: "ECS_AUDIT_LOGFILE_DISABLED", JSON: "CredentialsAuditLogDisabled",
			Text:  "No audit log is written.",
			value: as(boolean, func(c *Config) *bool { return &c.AuditLogDisabled }),
		}),
		both("40,60", Setting{
			Name:  "ECS_TASK_METADATA_RPS_LIMIT",
			Text:  "Requests per second and burst that the task metadata server answers.",
			value: as(rateLimit, func(c *Config) *RateLimit { return &c.TaskMetadataRate }),
		}),
		{
			JSON: "TaskMetadataSteadyStateRate", Under: "ECS_TASK_METADATA_RPS_LIMIT", Linux: "40", Windows: "40",
			Text: "The rate of `ECS_TASK_METADATA_RPS_LIMIT`.", Bounds: &bounds{min: "1", toDefault: true},
			value: as(wholeNumber(), func(c *Config) *int { return &c.TaskMetadataRate.Steady }),
		},
		{
			JSON: "TaskMetadataBurstRate", Under: "ECS_TASK_METADATA_RPS_LIMIT", Linux: "60", Windows: "60",
			Text: "The burst of `ECS_TASK_METADATA_RPS_LIMIT`.", Bounds: &bounds{min: "1", toDefault: true},
			value: as(wholeNumber(), func(c *Config) *int { return &c.TaskMetadataRate.Burst }),
		},
		both("false", Setting{
			Name: "ECS_DISABLE_TASK_METADATA_AZ", JSON: "TaskMetadataAZDisabled",
			Text:  "The metadata endpoint leaves out the availability zone.",
			value: as(boolean, func(c *Config) *bool { return &c.TaskMetadataAZDisabled }),
		}),
		{
			Name: "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE", JSON: "OverrideAWSLogsExecutionRole", Linux: "true", Windows: "false",
			Text:  "The awslogs driver is offered with the execution role.",
			value: as(boolean, func(c *Config) *bool { return &c.OverrideAWSLogsExecutionRole }),
		},
		both("false", Setting{
			JSON:  "IMDSIAMRolesEnabled",
			Text:  "Task credentials through the instance metadata service. Dormant.",
			value: as(boolean, func(c *Config) *bool { return &c.IMDSIAMRolesEnabled }),
		}),
		both("127.0.0.1:51678", Setting{
			Name: "ECS_INTROSPECTION_ADDRESS", Ours: true,
			Text:  "Listen address of the introspection server. `:51678` listens on all addresses, as the official agent does.",
			value: as(address, func(c *Config) *string { return &c.IntrospectionAddress }),
		}),
		both("127.0.0.1:51679", Setting{
			Name: "ECS_TASK_ENDPOINT_ADDRESS", Ours: true,
			Text:  "Listen address of the server for task metadata and credentials.",
			value: as(address, func(c *Config) *string { return &c.TaskEndpointAddress }),
		}),
	}
}

func networkSettings() []Setting {
	return []Setting{
		{
			Name: "ECS_ENABLE_TASK_ENI", JSON: "TaskENIEnabled", Linux: "true", Windows: "false",
			Text:  "Network mode `awsvpc` is offered. Always off when `ECS_EXTERNAL` is on.",
			value: as(boolean, func(c *Config) *bool { return &c.TaskENI }),
		},
		{
			Name: "ECS_ENABLE_HIGH_DENSITY_ENI", On: onLinux, Computed: "`ECS_ENABLE_TASK_ENI`",
			JSONDead: "ENITrunkingEnabled", Needs: []condition{taskENIOn},
			Text:  "ENI trunking is offered. By default only where the kernel can make VLAN devices (module `8021q`).",
			value: as(boolean, func(c *Config) *bool { return &c.ENITrunking }),
		},
		{
			Name: "ECS_CNI_PLUGINS_PATH", JSON: "CNIPluginsPath", Path: true, Needs: []condition{taskENIOn},
			Linux: "/usr/libexec/amazon-ecs/cni", Windows: `%ProgramFiles%\Amazon\ECS\cni`,
			Text:  "Directory of the CNI plugins.",
			value: as(path, func(c *Config) *string { return &c.CNIPluginsPath }),
		},
		both("false", Setting{
			Name: "ECS_AWSVPC_BLOCK_IMDS", JSON: "AWSVPCBlockInstanceMetdata", Needs: []condition{taskENIOn},
			Text:  "Tasks in mode `awsvpc` cannot reach the instance metadata service.",
			value: as(boolean, func(c *Config) *bool { return &c.AWSVPCBlockIMDS }),
		}),
		{
			Name: "ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES", JSON: "AWSVPCAdditionalLocalRoutes", Needs: []condition{taskENIOn},
			Text:  "Prefixes that tasks in mode `awsvpc` reach over the host's bridge.",
			value: as(prefixes, func(c *Config) *[]netip.Prefix { return &c.AWSVPCAdditionalLocalRoutes }),
		},
		{
			JSON: "OverrideAWSVPCLocalIPv4Address", On: onLinux, Needs: []condition{taskENIOn},
			Text:  "Fixed link-local address of a task; limits the host to one `awsvpc` task.",
			value: as(prefix, func(c *Config) *netip.Prefix { return &c.AWSVPCLocalIPv4 }),
		},
		both("0s", Setting{
			JSON: "ENIPauseContainerCleanupDelaySeconds", Needs: []condition{taskENIOn},
			Text:   "Delay before a task's pause container is stopped; a JSON integer of seconds.",
			Bounds: &bounds{min: "0s"},
			value:  as(seconds, func(c *Config) *time.Duration { return &c.ENIPauseCleanupDelay }),
		}),
		{
			JSON: "InstanceENIDNSServerList", On: onWindows, Computed: "from the primary network interface", Needs: []condition{taskENIOn},
			Text:  "DNS servers of the instance.",
			value: as(stringList, func(c *Config) *[]string { return &c.InstanceENIDNSServers }),
		},
		both("amazon/amazon-ecs-pause", Setting{
			JSON:  "PauseContainerImageName",
			Text:  "Name of the pause image.",
			value: as(text, func(c *Config) *string { return &c.PauseImageName }),
		}),
		both("0.1.0", Setting{
			JSON:  "PauseContainerTag",
			Text:  "Tag of the pause image.",
			value: as(text, func(c *Config) *string { return &c.PauseImageTag }),
		}),
		{
			JSON: "PauseContainerTarballPath", Path: true,
			Linux: "/usr/share/amazon-ecs/amazon-ecs-pause.tar", Windows: `%ProgramData%\Amazon\ECS\images\amazon-ecs-pause.tar`,
			Text:  "Archive the pause image is loaded from. Without the file the image has to be there, as on the ECS-optimized images of Windows.",
			value: as(path, func(c *Config) *string { return &c.PauseImageTarball }),
		},
	}
}

func limitSettings() []Setting {
	return []Setting{
		{
			Name: "ECS_ENABLE_TASK_CPU_MEM_LIMIT", JSON: "TaskCPUMemLimit", On: onLinux, Linux: "true", Windows: "false",
			Text:  "Limits of whole tasks, by a cgroup per task. Unset: on where the host can; `true`: the agent does not start where it cannot.",
			value: as(boolean, func(c *Config) *bool { return &c.TaskCPUMemLimit }),
		},
		{
			Name: "ECS_CGROUP_PATH", JSON: "CgroupPath", On: onLinux, Linux: "/sys/fs/cgroup", Path: true,
			Needs: []condition{taskLimitsOn},
			Text:  "Mount point of the cgroup file system.",
			value: as(path, func(c *Config) *string { return &c.CgroupPath }),
		},
		{
			Name: "ECS_CGROUP_CPU_PERIOD", On: onLinux, Linux: "100ms", JSONDead: "CgroupCPUPeriod",
			Bounds: &bounds{min: "8ms", max: "100ms", toDefault: true}, Needs: []condition{taskLimitsOn},
			Text:  "Period of the CPU quota of tasks.",
			value: as(duration, func(c *Config) *time.Duration { return &c.CgroupCPUPeriod }),
		},
		{
			Name: "ECS_TASK_PIDS_LIMIT", JSON: "TaskPidsLimit", On: onLinux, Linux: "0",
			Needs: []condition{taskLimitsOn},
			Text:  "Processes and threads a task may have; 0 is no limit.",
			value: as(pidsLimit, func(c *Config) *int { return &c.TaskPidsLimit }),
		},
		{
			Name: "ECS_PROPAGATE_TASK_MEMORY_LIMIT_CGROUPV2", JSON: "PropagateTaskMemoryLimitCgroupV2", On: onLinux, Linux: "false",
			Text:  "With cgroup v2, containers without a memory limit get the task's.",
			value: as(boolean, func(c *Config) *bool { return &c.PropagateTaskMemoryLimit }),
		},
		{
			Name: "ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND", On: onWindows, Windows: "false", JSONDead: "PlatformVariables",
			Text:  "CPU 0 means unbounded.",
			value: as(boolean, func(c *Config) *bool { return &c.CPUUnboundedWindowsWorkaround }),
		},
		{
			Name: "ECS_ENABLE_MEMORY_UNBOUNDED_WINDOWS_WORKAROUND", On: onWindows, Windows: "false",
			Text:  "A soft memory reservation is ignored.",
			value: as(boolean, func(c *Config) *bool { return &c.MemoryUnboundedWindowsWorkaround }),
		},
	}
}

// seconds is a duration written as a JSON integer of seconds.
var seconds = func() grammar[time.Duration] {
	g := duration
	whole := integer(-anyInt, anyInt)
	g.decode = func(raw json.RawMessage) (time.Duration, error) {
		n, err := whole.decode(raw)
		return time.Duration(n) * time.Second, err
	}
	return g
}()

// pidsLimit is an integer whose text may have blanks around it.
var pidsLimit = func() grammar[int] {
	g := integer(0, 4194304)
	g.trim = true
	g.want = "a whole number from 1 to 4194304"
	return g
}()
