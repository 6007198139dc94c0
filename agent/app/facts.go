package app

import (
	"context"

	"go.uber.org/zap"

	"ecsagent/agent/capability"
	"ecsagent/agent/platform"
	"ecsagent/agent/resource/execcmd"
)

// implemented are the features that this program has. Nothing else is advertised,
// whatever the settings say.
var implemented = capability.Implemented(
	capability.ContainerOrdering, capability.FullSync, capability.PortRange, capability.RestartPolicy,
	capability.Privileged, capability.LogDrivers, capability.SecurityOptions, capability.HealthChecks,
	capability.ECRAuth, capability.ECREndpoint, capability.ExecutionRoleECR, capability.PrivateRegistryAuth,
	capability.SSMSecrets, capability.SSMLogSecrets, capability.ASMSecrets, capability.ASMLogSecrets, capability.EnvFiles, capability.DockerVolumes,
	capability.TaskRole, capability.TaskRoleHost, capability.ExecutionRoleLogs,
	capability.TaskLimits, capability.NamespaceSharing, capability.AWSVPC, capability.Trunking, capability.AppMesh, capability.IPv6Only, capability.GPU, capability.FaultInjection,
	capability.GMSA, capability.FSx,
	capability.FireLens, capability.FireLensNonRoot, capability.FireLensConfig, capability.Exec,
	capability.ServiceConnect, capability.EBS, capability.EFS, capability.S3Files, capability.PluginCapabilities,
)

// facts gathers what decides about attributes, after the survey.
func (a *agent) facts(ctx context.Context) capability.Facts {
	v := a.docker.Version()
	facts := capability.Facts{
		OS: a.host.OSType, External: a.cfg.External, Implemented: implemented,
		DockerAPIs: capability.DockerAPIs(a.host.OSType, v.MaxAPI, v.MinAPI),
		EBS:        a.ebsStager() != nil, CSIImage: true, // the volume plugin does what the CSI driver does elsewhere
		VolumePlugins: a.volumePlugins, PluginCapabilities: a.pluginCapabilities(),
		PauseImage: a.pause != nil,
		GPU:        a.cfg.GPUSupport, GPUDriver: a.gpus.DriverVersion,
		TaskLimits: a.cgroups != nil, TaskLimitsExplicit: a.cfg.Explicit(limitsSetting),
		PrivilegedDisabled: a.cfg.PrivilegedDisabled, LogDrivers: a.cfg.AvailableLoggingDrivers,
		TaskRole: a.rolesReached.Load() && a.cfg.TaskIAMRole, TaskRoleHost: a.rolesReached.Load() && a.cfg.TaskIAMRoleNetworkHost, ExecutionRoleLogs: a.cfg.OverrideAWSLogsExecutionRole,
		FaultTools: a.faultTools, ServiceConnectImage: a.connects,
		ExecAgent: a.execInstalled(),
		SELinux:   a.cfg.SELinuxCapable, AppArmor: a.cfg.AppArmorCapable,
		HealthChecksDisabled: a.cfg.DockerHealthCheckDisabled, CPUFlags: a.host.CPUFlags,
	}
	h := a.hostFacts(ctx)
	facts.GMSA, facts.GMSADomainless, facts.FSx = h.GMSA, h.GMSADomainless, h.FSx
	if n := a.network; n != nil {
		facts.TaskENI, facts.CNIVersion, facts.BlockIMDS = true, n.version, a.cfg.AWSVPCBlockIMDS
		facts.Trunking, facts.BranchCNIVersion = n.trunking, n.branch
	}
	return facts
}

// execInstalled reports whether the files of ECS Exec are there.
func (a *agent) execInstalled() bool {
	o := a.execOptions()
	ok, err := execcmd.Installed(o.Dir, o.OS)
	if err != nil {
		a.log.Warn("ECS Exec is not offered", zap.String("dir", o.Dir), zap.Error(err))
	}
	return ok
}

// rolesReach reports whether tasks reach the credentials of their roles. Where they do
// not, roles are not offered: a task that has one would run without it, or find the
// instance's in its place.
func (a *agent) rolesReach(ctx context.Context) bool {
	if !a.cfg.TaskIAMRole && !a.cfg.TaskIAMRoleNetworkHost {
		return false
	}
	if err := a.taskPath(ctx); err != nil {
		a.log.Warn("task roles are not offered, for tasks do not reach 169.254.170.2: "+whoMakesThePath, zap.Error(err))
		return false
	}
	return true
}

func architecture(goarch string) string { return platform.Architecture(goarch) }
