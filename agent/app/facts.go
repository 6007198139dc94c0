package app

import (
	"context"

	"go.uber.org/zap"

	"ecsagent/agent/capability"
	"ecsagent/agent/platform"
)

// implemented are the features that this program has. Nothing else is advertised,
// whatever the settings say.
var implemented = capability.Implemented(
	capability.ContainerOrdering, capability.FullSync, capability.PortRange, capability.RestartPolicy,
	capability.Privileged, capability.LogDrivers, capability.SecurityOptions, capability.HealthChecks,
	capability.ECRAuth, capability.ECREndpoint, capability.ExecutionRoleECR, capability.PrivateRegistryAuth, capability.DockerVolumes,
	capability.TaskRole, capability.TaskRoleHost, capability.ExecutionRoleLogs,
	capability.TaskLimits, capability.NamespaceSharing, capability.AWSVPC, capability.GPU, capability.FaultInjection,
)

// facts gathers what decides about attributes. Volume plugins that cannot be listed
// are left out: an instance with fewer attributes is better than none.
func (a *agent) facts(ctx context.Context) (capability.Facts, error) {
	plugins, err := a.docker.VolumePlugins(ctx)
	if err != nil {
		a.log.Warn("docker volume plugins not listed", zap.Error(err))
	}
	roles := a.rolesReach(ctx)
	facts := capability.Facts{
		OS: a.host.OSType, External: a.cfg.External, Implemented: implemented,
		DockerAPIs:    capability.DockerAPIs(a.host.OSType, a.engineOf.MaxAPI, a.engineOf.MinAPI),
		VolumePlugins: append(plugins, a.host.VolumePlugins...),
		PauseImage:    a.pause != nil,
		GPU:           a.cfg.GPUSupport, GPUDriver: a.gpus.DriverVersion,
		TaskLimits: a.cgroups != nil, TaskLimitsExplicit: a.cfg.Explicit(limitsSetting),
		PrivilegedDisabled: a.cfg.PrivilegedDisabled, LogDrivers: a.cfg.AvailableLoggingDrivers,
		TaskRole: roles && a.cfg.TaskIAMRole, TaskRoleHost: roles && a.cfg.TaskIAMRoleNetworkHost, ExecutionRoleLogs: a.cfg.OverrideAWSLogsExecutionRole,
		FaultTools: !a.cfg.External && faultTools(ctx, a.ipv6Only) == nil,
		SELinux:    a.cfg.SELinuxCapable, AppArmor: a.cfg.AppArmorCapable,
		HealthChecksDisabled: a.cfg.DockerHealthCheckDisabled, CPUFlags: a.host.CPUFlags,
	}
	if n := a.network; n != nil {
		facts.TaskENI, facts.CNIVersion, facts.BlockIMDS = true, n.version, a.cfg.AWSVPCBlockIMDS
		facts.Trunking, facts.BranchCNIVersion = a.cfg.ENITrunking, n.branch
	}
	return facts, nil
}

// rolesReach reports whether tasks reach the credentials of their roles. Where they do
// not, roles are not offered: a task that has one would run without it, or find the
// instance's in its place.
func (a *agent) rolesReach(ctx context.Context) bool {
	if !a.cfg.TaskIAMRole && !a.cfg.TaskIAMRoleNetworkHost {
		return false
	}
	if err := a.taskPath(ctx); err != nil {
		a.log.Warn("task roles are not offered, for tasks do not reach 169.254.170.2: ecs-init makes the way before it starts the agent, "+
			"with ECS_HOST_RULES=agent the agent keeps it, with none the operator answers for it", zap.Error(err))
		return false
	}
	return true
}

func architecture(goarch string) string { return platform.Architecture(goarch) }
