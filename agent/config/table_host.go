package config

import "time"

func metricsSettings() []Setting {
	return []Setting{
		both("false", Setting{
			Name: "ECS_DISABLE_METRICS", JSON: "DisableMetrics",
			Text:  "Nothing is measured: ECS is told that the instance is idle, and the stats endpoints are empty. Health is still told.",
			value: as(boolean, func(c *Config) *bool { return &c.DisableMetrics }),
		}),
		both("false", Setting{
			Name: "ECS_POLL_METRICS", JSON: "PollMetrics",
			Text:  "Containers are measured every `ECS_POLLING_METRICS_WAIT_DURATION` instead of every second.",
			value: as(boolean, func(c *Config) *bool { return &c.PollMetrics }),
		}),
		both("10s", Setting{
			Name: "ECS_POLLING_METRICS_WAIT_DURATION", JSON: "PollingMetricsWaitDuration",
			Bounds: &bounds{min: "5s", max: "20s"},
			Needs:  []condition{{"`ECS_DISABLE_METRICS` is off", func(c *Config) bool { return !c.DisableMetrics }}},
			Text:   "Time between two measurements of a container if `ECS_POLL_METRICS` is on, on Windows always, and of a task's own network interfaces.",
			value:  as(duration, func(c *Config) *time.Duration { return &c.PollingMetricsWait }),
		}),
		both("false", Setting{
			Name: "ECS_ENABLE_RUNTIME_STATS", JSON: "EnableRuntimeStats",
			Text:  "Profiling handlers on the introspection server and the runtime statistics log.",
			value: as(boolean, func(c *Config) *bool { return &c.RuntimeStats }),
		}),
		{
			Name: "ECS_ENABLE_PROMETHEUS_METRICS", JSON: "PrometheusMetricsEnabled", On: onLinux, Linux: "false",
			Text:  "Metrics for Prometheus are served at `/metrics` of `ECS_PROMETHEUS_ADDRESS`, and TCP port 51680 is reserved.",
			value: as(boolean, func(c *Config) *bool { return &c.Prometheus }),
		},
		{
			Name: "ECS_PROMETHEUS_ADDRESS", Ours: true, On: onLinux, Linux: "127.0.0.1:51680",
			Needs: []condition{{"`ECS_ENABLE_PROMETHEUS_METRICS` is on", func(c *Config) bool { return c.Prometheus }}},
			Text:  "Listen address of the metrics for Prometheus.",
			value: as(address, func(c *Config) *string { return &c.PrometheusAddress }),
		},
		both("localhost", Setting{
			Name:  "ECS_AGENT_HEALTHCHECK_HOST",
			Text:  "Host that `--healthcheck` asks.",
			value: as(text, func(c *Config) *string { return &c.HealthcheckHost }),
		}),
	}
}

func logSettings() []Setting {
	bySize := condition{"`ECS_LOG_ROLLOVER_TYPE` is `size`", func(c *Config) bool { return c.Log.Rollover == "size" }}
	rolling := condition{"`ECS_LOG_ROLLOVER_TYPE` is not `none`", func(c *Config) bool { return c.Log.Rollover != "none" }}
	return []Setting{
		both("info", Setting{
			Name:  "ECS_LOGLEVEL",
			Text:  "Least severe level on the console and in the Windows Event Log. The flags `-loglevel` and `-loglevel-driver` win.",
			value: as(logLevel, func(c *Config) *string { return &c.Log.Level }),
		}),
		{
			Name: "ECS_LOGLEVEL_ON_INSTANCE", Computed: "`none` if `ECS_LOG_DRIVER` is set, else `ECS_LOGLEVEL`",
			Needs: []condition{logFileSet},
			Text:  "Least severe level in the log file. The flags `-loglevel` and `-loglevel-on-instance` win.",
			value: as(logLevel, func(c *Config) *string { return &c.Log.LevelOnInstance }),
		},
		{
			Name: "ECS_LOGFILE", Path: true, Linux: "/var/log/ecs/ecs-agent.log",
			Text:  "Log file.",
			value: as(path, func(c *Config) *string { return &c.Log.File }),
		},
		{
			Name:   "ECS_LOG_DRIVER",
			Text:   "Log driver of the agent's container, which there is none of here. Any value turns the log file off unless `ECS_LOGLEVEL_ON_INSTANCE` is set.",
			value:  as(text, func(c *Config) *string { return &c.Log.Driver }),
			verify: verifyLogDriver,
		},
		both("size", Setting{
			Name: "ECS_LOG_ROLLOVER_TYPE", Needs: []condition{logFileSet},
			Text:  "When the log file is rotated: by `size`, `hourly`, or never (`none`). Any other word means hourly.",
			value: as(rollover, func(c *Config) *string { return &c.Log.Rollover }),
		}),
		both("logfmt", Setting{
			Name:  "ECS_LOG_OUTPUT_FORMAT",
			Text:  "Form of the records.",
			value: as(foldedWord(nil, "logfmt", "json"), func(c *Config) *string { return &c.Log.Format }),
		}),
		both("5", Setting{
			Name: "ECS_LOG_MAX_FILE_SIZE_MB", Needs: []condition{logFileSet, bySize},
			Text:  "Size in MB (1 000 000 bytes) from which a log file is rotated.",
			value: as(decimal, func(c *Config) *float64 { return &c.Log.MaxFileSizeMB }),
		}),
		both("24", Setting{
			Name: "ECS_LOG_MAX_ROLL_COUNT", Needs: []condition{logFileSet, rolling},
			Text:  "Rotated files kept; 0 or less keeps all.",
			value: as(wholeNumber(), func(c *Config) *int { return &c.Log.MaxRollCount }),
		}),
	}
}

// rollover takes any word; one it does not know means hourly (docs/spec/03 3.2).
var rollover = func() grammar[string] {
	g := foldedWord(nil, "size", "hourly", "none")
	known := g.parse
	g.parse = func(s string) (string, error) {
		w, err := known(s)
		if err != nil {
			return "hourly", remark("is not a known word; rotation is hourly")
		}
		return w, nil
	}
	return g
}()

func deviceSettings() []Setting {
	csi := condition{"`ECS_EBSTA_SUPPORTED` is on", func(c *Config) bool { return c.EBSTaskAttach }}
	return append([]Setting{
		{
			Name: "ECS_ENABLE_GPU_SUPPORT", JSON: "GPUSupportEnabled", On: onLinux, Linux: "false",
			Text:  "GPUs are offered.",
			value: as(boolean, func(c *Config) *bool { return &c.GPUSupport }),
		},
		{
			Name: "ECS_NVIDIA_RUNTIME", JSON: "NvidiaRuntime", On: onLinux, Linux: "nvidia", Needs: []condition{gpuOn},
			Text:  "Name of the OCI runtime for containers with GPUs.",
			value: as(trimmed, func(c *Config) *string { return &c.NvidiaRuntime }),
		},
		{
			Name: "ECS_GPU_INFO_FILE", Ours: true, On: onLinux, Linux: "/var/lib/ecs/gpu/nvidia-gpu-info.json", Needs: []condition{gpuOn},
			Text:  "File in which host preparation describes the GPUs.",
			value: as(path, func(c *Config) *string { return &c.GPUInfoFile }),
		},
		{
			Name: "ECS_ENABLE_INF_SUPPORT", JSON: "InferentiaSupportEnabled", On: onLinux, Linux: "false",
			Text:  "The Neuron runtime serves containers that ask for it.",
			value: as(boolean, func(c *Config) *bool { return &c.InferentiaSupport }),
		},
		both("true", Setting{
			Name: "ECS_EBSTA_SUPPORTED", JSONDead: "EBSTASupportEnabled",
			Text:  "EBS volumes can be attached to tasks. Always off on Linux where `ECS_EBS_MOUNT_DIR` does not exist.",
			value: as(boolean, func(c *Config) *bool { return &c.EBSTaskAttach }),
		}),
		{
			Name: "ECS_EBS_MOUNT_DIR", Ours: true, On: onLinux, Linux: "/mnt/ecs/ebs",
			Text:  "Directory below which EBS volumes are mounted.",
			value: as(path, func(c *Config) *string { return &c.EBSMountDir }),
		},
		{
			Name: "ECS_EBS_CSI_IMAGE", Ours: true, Needs: []condition{csi},
			Linux:   "/var/lib/ecs/deps/daemons/ebs-csi-driver/ebs-csi-driver.tar",
			Windows: `%ProgramData%\Amazon\ECS\images\ebs-csi-driver\ebs-csi-driver.tar`,
			Text:    "Archive of the EBS CSI driver's image.",
			value:   as(path, func(c *Config) *string { return &c.EBSCSIImage }),
		},
		{
			JSON: "CSIDriverSocketPath", Needs: []condition{ebsOn},
			Linux: "/var/run/ecs/ebs-csi-driver/csi-driver.sock", Windows: `%ProgramData%\Amazon\ECS\ebs-csi-driver\csi-driver.sock`,
			Text:  "Socket of the EBS CSI driver.",
			value: as(path, func(c *Config) *string { return &c.CSIDriverSocket }),
		},
		perOS("2s", "10m", needing(limited("", "NodeStageTimeout", positive, "Limit of staging a volume.",
			func(c *Config) *time.Duration { return &c.NodeStageTimeout }), ebsOn)),
		perOS("30s", "10m", needing(limited("", "NodeUnstageTimeout", positive, "Limit of unstaging a volume.",
			func(c *Config) *time.Duration { return &c.NodeUnstageTimeout }), ebsOn)),
	}, gmsaSettings()...)
}

func gmsaSettings() []Setting {
	return []Setting{
		{
			Name: "ECS_GMSA_SUPPORTED", Linux: "false", Windows: "true", JSONDead: "GMSACapable",
			Text:  "Group managed service accounts are offered; on Linux where the credentials-fetcher daemon answers. On Windows, `true` offers those without a domain join too.",
			value: as(boolean, func(c *Config) *bool { return &c.GMSA }),
		},
		{
			Name: "CREDENTIALS_FETCHER_HOST", On: onLinux, Needs: []condition{gmsaOn},
			Linux: "unix:///var/credentials-fetcher/socket/credentials_fetcher.sock",
			Text:  "Endpoint of the credentials-fetcher daemon, `unix://` only.",
			value: as(unixURL, func(c *Config) *string { return &c.CredentialsFetcherHost }),
		},
		{
			Name: "CREDENTIALS_FETCHER_HOST_DIR", On: onLinux, Needs: []condition{gmsaOn}, Computed: "from `CREDENTIALS_FETCHER_HOST`",
			Text:  "Socket file of the credentials-fetcher daemon.",
			value: as(path, func(c *Config) *string { return &c.CredentialsFetcherSocket }),
		},
		{
			Name: "CREDENTIALS_FETCHER_SECRET_NAME_FOR_DOMAINLESS_GMSA", On: onLinux, Needs: []condition{gmsaOn},
			Text:  "Secret for hosts that are not joined to a domain; set, no domain join is needed.",
			value: as(text, func(c *Config) *string { return &c.CredentialsFetcherSecretName }),
		},
		{
			Name: "ECS_DOMAIN_JOINED_LINUX_INSTANCE", On: onLinux, Linux: "false", Needs: []condition{gmsaOn},
			Text:  "This host is joined to a domain. Unless it is set, `realm list` is asked.",
			value: as(boolean, func(c *Config) *bool { return &c.DomainJoinedLinux }),
		},
		{
			Name: "ECS_FSX_WINDOWS_FILE_SERVER_SUPPORTED", On: onWindows, Windows: "true", JSONDead: "FSxWindowsFileServerCapable",
			Text:  "FSx for Windows File Server volumes are offered; never on Windows Server 2016.",
			value: as(boolean, func(c *Config) *bool { return &c.FSxWindowsFileServer }),
		},
	}
}

func lifecycleSettings() []Setting {
	return []Setting{
		both("false", Setting{
			Name: "ECS_ENABLE_SPOT_INSTANCE_DRAINING", JSON: "SpotInstanceDrainingEnabled", Needs: []condition{onEC2},
			Text:  "A Spot interruption notice or a rebalance recommendation sets the container instance to DRAINING.",
			value: as(boolean, func(c *Config) *bool { return &c.SpotInstanceDraining }),
		}),
		both("false", Setting{
			Name: "ECS_WARM_POOLS_CHECK", JSON: "WarmPoolsSupport", Needs: []condition{onEC2},
			Text:  "The instance registers only once its Auto Scaling state is `InService`.",
			value: as(boolean, func(c *Config) *bool { return &c.WarmPoolsCheck }),
		}),
		both("false", Setting{
			JSON:  "NoIID",
			Text:  "The instance registers without its identity document. Always on when `ECS_EXTERNAL` is on.",
			value: as(boolean, func(c *Config) *bool { return &c.NoIID }),
		}),
		both("default", Setting{
			Name:  "ECS_ALTERNATE_CREDENTIAL_PROFILE",
			Text:  "Profile in the rotating credentials file.",
			value: as(text, func(c *Config) *string { return &c.AlternateCredentialProfile }),
		}),
	}
}
