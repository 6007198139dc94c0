package config

import "time"

func stateSettings() []Setting {
	return append(fileSettings(), []Setting{
		both("false", Setting{
			Name: "ECS_ENABLE_CONTAINER_METADATA", JSON: "ContainerMetadataEnabled",
			Text:  "Each container gets a metadata file.",
			value: as(boolean, func(c *Config) *bool { return &c.ContainerMetadataEnabled }),
		}),
		{
			Name: "ECS_UPDATES_ENABLED", JSON: "UpdatesEnabled", Linux: "true", Windows: "false",
			Text:  "Update messages from ECS are accepted.",
			value: as(boolean, func(c *Config) *bool { return &c.UpdatesEnabled }),
		},
		{
			Name: "ECS_UPDATE_DOWNLOAD_DIR", JSON: "UpdateDownloadDir", Linux: "/var/cache/ecs", Path: true,
			Needs: []condition{updatesOn},
			Text:  "Directory where an update is staged.",
			value: as(path, func(c *Config) *string { return &c.UpdateDownloadDir }),
		},
		{
			Name: "ECS_ROTATING_CREDENTIALS_FILE", Ours: true, Path: true,
			Linux: "/root/.aws/credentials", Windows: `C:\Windows\System32\config\systemprofile\.aws\credentials`,
			Text:  "Credentials file that is read again every minute, as ECS Anywhere needs.",
			value: as(path, func(c *Config) *string { return &c.RotatingCredentialsFile }),
		},
		{
			Name: "ECS_MANAGED_AGENTS_DIR", Ours: true, Path: true,
			Linux: "/var/lib/ecs/deps", Windows: `%ProgramFiles%\Amazon\ECS\managed-agents`,
			Text:  "Directory of the ECS Exec and Service Connect agents.",
			value: as(path, func(c *Config) *string { return &c.ManagedAgentsDir }),
		},
		{
			Name: "ECS_RUN_DIR", Ours: true, Path: true, Linux: "/var/run/ecs", Windows: `%ProgramData%\Amazon\ECS`,
			Text:  "Directory of the sockets shared with task containers.",
			value: as(path, func(c *Config) *string { return &c.RunDir }),
		},
		{
			Name: "ECS_TASK_LOG_DIR", Ours: true, Path: true, Linux: "/var/log/ecs", Windows: `%ProgramData%\Amazon\ECS\log`,
			Text:  "Directory below which agents inside tasks write their logs.",
			value: as(path, func(c *Config) *string { return &c.TaskLogDir }),
		},
		{
			Name: "ECS_CLOUD_INIT_RESULT_FILE", Ours: true, On: onLinux, Linux: "/var/lib/cloud/data/result.json",
			Text:  "Where cloud-init leaves its result, looked at before the start.",
			value: as(path, func(c *Config) *string { return &c.CloudInitResultFile }),
		},
	}...)
}

func fileSettings() []Setting {
	return []Setting{
		{
			Name: envConfigFile, Ours: true,
			Linux: "/etc/ecs/ecs.config", Windows: `%ProgramData%\Amazon\ECS\ecs.config`,
			Text:  "File with the user's settings, one `NAME=VALUE` a line. Process environment only.",
			value: as(path, func(c *Config) *string { return &c.ConfigFile }),
		},
		{
			Name: envInstanceFile, Ours: true, Linux: "/var/lib/ecs/ecs.config",
			Text:  "File with the settings of the image builder or installer; the user's file wins. Process environment only.",
			value: as(path, func(c *Config) *string { return &c.InstanceConfigFile }),
		},
		{
			Name: envJSONFile, Linux: "/etc/ecs/ecs.config.json", Windows: "/etc/ecs_container_agent/config.json",
			Text:  "JSON configuration file, below the environment files. On Windows the default file is read only if the Administrators group owns it.",
			value: as(path, func(c *Config) *string { return &c.JSONFile }),
		},
		{
			Name: "ECS_DATADIR", JSON: "DataDir", Path: true,
			Linux: "/var/lib/ecs/data", Windows: `%ProgramData%\Amazon\ECS\data`,
			Text:  "Directory of the state database `agent.db` and of data per task.",
			value: as(path, func(c *Config) *string { return &c.DataDir }),
		},
		{
			Name: "ECS_HOST_DATA_DIR", JSON: "DataDirOnHost",
			Linux: "/var/lib/ecs", Windows: `%ProgramData%\Amazon\ECS\data`,
			Text:  "Host directory that bind mounts of tasks are built from: `$ECS_HOST_DATA_DIR/data/...`.",
			value: as(path, func(c *Config) *string { return &c.HostDataDir }),
		},
		{
			Name: "ECS_CHECKPOINT", JSON: "Checkpoint", Linux: "true",
			Computed: "Windows: `true` if `ECS_DATADIR` is set",
			Text:     "State is kept. Off: every start registers a new container instance.",
			value:    as(boolean, func(c *Config) *bool { return &c.Checkpoint }),
		},
		{
			JSON: "RuntimeStatsLogFile", Path: true,
			Linux: "/var/log/ecs/agent-runtime-stats.log", Windows: `%ProgramData%\Amazon\ECS\log\agent-runtime-stats.log`,
			Needs: []condition{{"`ECS_ENABLE_RUNTIME_STATS` is on", func(c *Config) bool { return c.RuntimeStats }}},
			Text:  "File of the runtime statistics.",
			value: as(path, func(c *Config) *string { return &c.RuntimeStatsLogFile }),
		},
	}
}

func timeoutSettings() []Setting {
	return append([]Setting{
		both("30s", limited("ECS_CONTAINER_STOP_TIMEOUT", "DockerStopTimeout", bounds{min: "1s"},
			"Time from SIGTERM to SIGKILL for tasks that set none.",
			func(c *Config) *time.Duration { return &c.ContainerStopTimeout })),
		perOS("3m", "8m", limited("ECS_CONTAINER_START_TIMEOUT", "ContainerStartTimeout", bounds{min: "45s", minWindows: "2m"},
			"Limit of one Docker start call.",
			func(c *Config) *time.Duration { return &c.ContainerStartTimeout })),
		both("4m", limited("ECS_CONTAINER_CREATE_TIMEOUT", "ContainerCreateTimeout", bounds{min: "1m"},
			"Limit of one Docker create call.",
			func(c *Config) *time.Duration { return &c.ContainerCreateTimeout })),
		both("1m", limited("ECS_MANIFEST_PULL_TIMEOUT", "ManifestPullTimeout", bounds{min: "30s"},
			"Limit of reading an image's manifest and digest.",
			func(c *Config) *time.Duration { return &c.ManifestPullTimeout })),
		perOS("1m", "3m", limited("ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", "ImagePullInactivityTimeout", bounds{min: "1m", toDefault: true},
			"Time without progress after which a pull is given up.",
			func(c *Config) *time.Duration { return &c.ImagePullInactivityTimeout })),
		both("2h", limited("ECS_IMAGE_PULL_TIMEOUT", "ImagePullTimeout", positive,
			"Limit of a whole pull.",
			func(c *Config) *time.Duration { return &c.ImagePullTimeout })),
		both("3h", limited("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION", "TaskCleanupWaitDuration", bounds{min: "1s", toDefault: true},
			"Time from a task's end to the removal of its containers; also the age limit of untracked containers.",
			func(c *Config) *time.Duration { return &c.TaskCleanupWait })),
		both("0s", limited("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER", "TaskCleanupWaitDurationJitter", bounds{min: "0s"},
			"Upper limit of a random delay added to the clean-up.",
			func(c *Config) *time.Duration { return &c.TaskCleanupWaitJitter })),
	}, imageSettings()...)
}

// positive keeps a time limit from being negative.
var positive = bounds{min: "1ms", toDefault: true}

// limited is a duration with bounds.
func limited(name, json string, b bounds, text string, at func(*Config) *time.Duration) Setting {
	return Setting{Name: name, JSON: json, Bounds: &b, Text: text, value: as(duration, at)}
}

func perOS(linux, windows string, s Setting) Setting {
	s.Linux, s.Windows = linux, windows
	return s
}

// needing adds conditions to a row.
func needing(s Setting, conditions ...condition) Setting {
	s.Needs = append(s.Needs, conditions...)
	return s
}

func imageSettings() []Setting {
	return []Setting{
		both("false", Setting{
			Name: "ECS_DISABLE_IMAGE_CLEANUP", JSON: "ImageCleanupDisabled",
			Text:  "Images are never cleaned up.",
			value: as(boolean, func(c *Config) *bool { return &c.ImageCleanupDisabled }),
		}),
		needing(both("30m", limited("ECS_IMAGE_CLEANUP_INTERVAL", "ImageCleanupInterval", bounds{min: "10m", toDefault: true},
			"Time between two image clean-ups.",
			func(c *Config) *time.Duration { return &c.ImageCleanupInterval })), cleanupOn),
		needing(both("1h", limited("ECS_IMAGE_MINIMUM_CLEANUP_AGE", "MinimumImageDeletionAge", positive,
			"Time since its pull before an image may be removed.",
			func(c *Config) *time.Duration { return &c.ImageMinimumCleanupAge })), cleanupOn),
		needing(both("1h", limited("NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE", "NonECSMinimumImageDeletionAge", positive,
			"Time since the agent saw it first before an untracked image may be removed.",
			func(c *Config) *time.Duration { return &c.NonECSImageMinimumCleanupAge })), cleanupOn, untrackedOn),
		both("5", Setting{
			Name: "ECS_NUM_IMAGES_DELETE_PER_CYCLE", JSON: "NumImagesToDeletePerCycle",
			Bounds: &bounds{min: "1", toDefault: true}, Needs: []condition{cleanupOn},
			Text:  "Images removed per clean-up.",
			value: as(wholeNumber(), func(c *Config) *int { return &c.NumImagesToDeletePerCycle }),
		}),
		both("5", Setting{
			Name: "NONECS_NUM_CONTAINERS_DELETE_PER_CYCLE", JSON: "NumNonECSContainersToDeletePerCycle",
			Bounds: &bounds{min: "1", toDefault: true}, Needs: []condition{cleanupOn, untrackedOn},
			Text:  "Untracked containers removed per clean-up.",
			value: as(wholeNumber(), func(c *Config) *int { return &c.NumNonECSContainersDeletedPerCycle }),
		}),
		both("false", Setting{
			Name: "ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP", JSON: "DeleteNonECSImagesEnabled",
			Needs: []condition{cleanupOn},
			Text:  "Containers and images that ECS did not create are cleaned up too.",
			value: as(boolean, func(c *Config) *bool { return &c.UntrackedImageCleanup }),
		}),
		{
			Name: "ECS_EXCLUDE_UNTRACKED_IMAGE", JSON: "ImageCleanupExclusionList",
			Needs: []condition{cleanupOn},
			Text:  "Images, `name:tag`, that no clean-up removes, tracked ones included.",
			value: as(commaList, func(c *Config) *[]string { return &c.ImageCleanupExclusions }),
		},
		both("8", Setting{
			Name: "ECS_IMAGE_PULLS_AT_ONCE", Ours: true, Bounds: &bounds{min: "1", max: "100", toDefault: true},
			Text:  "Images that are pulled at the same time; the others wait in a queue. A pull that makes no progress does not count.",
			value: as(wholeNumber(), func(c *Config) *int { return &c.ImagePullsAtOnce }),
		}),
		both("0", Setting{
			Name: "ECS_IMAGE_CLEANUP_DISK_HIGH_PERCENT", Ours: true, Bounds: &bounds{min: "0", max: "99"},
			Needs: []condition{cleanupOn},
			Text: "When more than this part of the disk with Docker's data is in use, images that no task or container uses are removed, " +
				"the least recently used first and whatever their age, with every `ECS_IMAGE_PULL_BEHAVIOR`. 0 is off.",
			value: as(wholeNumber(), func(c *Config) *int { return &c.ImageDiskHigh }),
		}),
		both("0", Setting{
			Name: "ECS_IMAGE_CLEANUP_DISK_LOW_PERCENT", Ours: true, Bounds: &bounds{min: "0", max: "98"}, verify: verifyLowMark,
			Needs: []condition{cleanupOn, {"`ECS_IMAGE_CLEANUP_DISK_HIGH_PERCENT` is set", func(c *Config) bool { return c.ImageDiskHigh > 0 }}},
			Text:  "Where removing images because of a full disk ends. 0 is 10 less than the high mark.",
			value: as(wholeNumber(), func(c *Config) *int { return &c.ImageDiskLow }),
		}),
		both("default", Setting{
			Name: "ECS_IMAGE_PULL_BEHAVIOR", JSON: "ImagePullBehavior",
			Text: "`default`: pull, fall back to the cached image. `always`: pull or fail. " +
				"`once`: pull unless pulled before by a task. `prefer-cached`: pull only if there is no image.",
			value: as(word("default", "always", "once", "prefer-cached"), func(c *Config) *string { return &c.ImagePullBehavior }),
		}),
	}
}
