package app

import (
	"context"
	"slices"
	"strings"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource/ebs"
	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// capabilitySetting names what the volume plugin can do, and efsAuth that it mounts EFS
// (docs/spec/02 section 4.9).
const (
	capabilitySetting = "ECS_VOLUME_PLUGIN_CAPABILITIES"
	efsAuth           = "efsAuth"
)

// efsByPlugin reports whether file systems of EFS are the volume plugin's as the settings
// have it.
func efsByPlugin(cfg *config.Config) bool {
	return slices.Contains(cfg.VolumePluginCapabilities, efsAuth)
}

// pluginCapabilities are those of the volume plugin. A plugin that is not on the host has
// none, unless the operator says that it has.
func (a *agent) pluginCapabilities() []string {
	if !a.hasPlugin() && !a.cfg.Explicit(capabilitySetting) {
		return nil
	}
	return a.cfg.VolumePluginCapabilities
}

// hasPlugin reports whether the volume plugin is on the host.
func (a *agent) hasPlugin() bool {
	return slices.ContainsFunc(a.volumePlugins, func(name string) bool {
		return strings.TrimSuffix(name, ":latest") == dockerspec.VolumePlugin
	})
}

// ebsStager mounts EBS volumes for tasks; nil where there are none of them: they need the
// volume plugin, which sees the host's devices.
func (a *agent) ebsStager() ebs.Stager {
	if a.host.OSType != "linux" || !a.cfg.EBSTaskAttach || !a.hasPlugin() {
		return nil
	}
	return ebs.NewClient("")
}

// volumeUsage tells how full the EBS volumes of tasks are; nil where there are none of them.
func (a *agent) volumeUsage() func(context.Context, *task.Snapshot) ([]stats.VolumeUsage, error) {
	gauge, ok := a.ebsStager().(ebs.Gauge)
	if !ok {
		return nil
	}
	return func(ctx context.Context, s *task.Snapshot) ([]stats.VolumeUsage, error) {
		return ebs.Usage(ctx, gauge, s)
	}
}

// efsAddress gives the host names of file systems in a region.
func efsAddress(region string) func(fileSystem string) string {
	suffix := ".efs." + region + "." + awsenv.PartitionOf(region).DNSSuffix
	return func(fileSystem string) string { return fileSystem + suffix }
}
