package capability

import "slices"

const (
	prefix = "ecs.capability."
	legacy = "com.amazonaws.ecs.capability."
)

// row is a group of attributes with its condition. Exactly one of names and emit
// is set.
type row struct {
	feature Feature // empty for what every agent has
	linux   bool    // Linux only
	when    func(*Facts) bool
	names   []string
	emit    func(*Facts) []Attribute
}

// rows is the whole table, in the order of emission (docs/spec/03 section 4.1).
var rows = []row{
	{feature: PrivateRegistryAuth, names: []string{prefix + "private-registry-authentication.secretsmanager"}},
	{feature: SSMSecrets, names: []string{prefix + "secrets.ssm.environment-variables"}},
	{feature: SSMLogSecrets, names: []string{prefix + "secrets.ssm.bootstrap.log-driver"}},
	{feature: ECREndpoint, names: []string{prefix + "ecr-endpoint"}},
	{feature: ASMSecrets, names: []string{prefix + "secrets.asm.environment-variables"}},
	{feature: ASMLogSecrets, names: []string{prefix + "secrets.asm.bootstrap.log-driver"}},
	{feature: ContainerOrdering, names: []string{prefix + "container-ordering"}},
	{feature: FullSync, names: []string{prefix + "full-sync"}},
	{feature: EnvFiles, names: []string{prefix + "env-files.s3"}},
	{feature: PortRange, names: []string{prefix + "network.container-port-range"}},
	{feature: RestartPolicy, names: []string{prefix + "container-restart-policy"}},
	{feature: Privileged, when: func(f *Facts) bool { return !f.PrivilegedDisabled }, names: []string{legacy + "privileged-container"}},
	{emit: dockerAPIs},
	{feature: LogDrivers, emit: logDrivers},
	{feature: SecurityOptions, when: func(f *Facts) bool { return f.SELinux }, names: []string{legacy + "selinux"}},
	{feature: SecurityOptions, when: func(f *Facts) bool { return f.AppArmor }, names: []string{legacy + "apparmor"}},
	{feature: TaskRole, when: func(f *Facts) bool { return f.TaskRole && f.api("1.19") }, names: []string{legacy + "task-iam-role"}},
	{feature: TaskRoleHost, when: func(f *Facts) bool { return f.TaskRoleHost && f.api("1.19") }, names: []string{legacy + "task-iam-role-network-host"}},
	{feature: TaskLimits, linux: true, when: func(f *Facts) bool { return f.TaskLimits && f.api("1.22") },
		names: []string{prefix + "task-cpu-mem-limit", prefix + "increased-task-cpu-limit"}},
	{feature: AWSVPC, when: func(f *Facts) bool { return f.TaskENI }, emit: taskENI},
	{feature: Trunking, linux: true, when: func(f *Facts) bool { return f.TaskENI && f.Trunking && f.Implemented[AWSVPC] }, emit: trunking},
	{feature: ECRAuth, when: func(f *Facts) bool { return f.api("1.19") }, names: []string{legacy + "ecr-auth"}},
	{feature: ExecutionRoleECR, when: func(f *Facts) bool { return f.api("1.19") }, names: []string{prefix + "execution-role-ecr-pull"}},
	{feature: HealthChecks, when: func(f *Facts) bool { return f.api("1.24") && !f.HealthChecksDisabled }, names: []string{prefix + "container-health-check"}},
	{feature: ExecutionRoleLogs, when: func(f *Facts) bool { return f.ExecutionRoleLogs }, names: []string{prefix + "execution-role-awslogs"}},
	{feature: DockerVolumes, emit: volumePlugins},
	{feature: GPU, linux: true, when: func(f *Facts) bool { return f.GPU && f.GPUDriver != "" }, emit: gpuDriver},
	{feature: NamespaceSharing, linux: true, when: func(f *Facts) bool { return f.PauseImage }, names: []string{prefix + "pid-ipc-namespace-sharing"}},
	{feature: AppMesh, linux: true, when: func(f *Facts) bool { return f.TaskENI }, names: []string{prefix + "aws-appmesh"}},
	{feature: ElasticInference, linux: true, names: []string{prefix + "task-eia"}},
	{feature: ElasticInference, linux: true, when: hasVectorUnits, names: []string{prefix + "task-eia.optimized-cpu"}},
	{feature: FireLens, linux: true, names: []string{
		prefix + "firelens.fluentd", prefix + "firelens.fluentbit",
		legacy + "logging-driver.awsfirelens", prefix + "logging-driver.awsfirelens.log-driver-buffer-limit",
	}},
	{feature: FireLensNonRoot, linux: true, names: []string{prefix + "firelens.non-root-user"}},
	{feature: EFS, linux: true, names: []string{prefix + "efs"}},
	{feature: S3Files, linux: true, when: func(f *Facts) bool { return len(f.PluginCapabilities) > 0 }, names: []string{prefix + "storage.s3-files"}},
	{feature: FireLensConfig, linux: true, names: []string{prefix + "firelens.options.config.file", prefix + "firelens.options.config.s3"}},
	{feature: GMSA, when: func(f *Facts) bool { return f.GMSA }, names: []string{prefix + "gmsa"}},
	{feature: GMSA, when: func(f *Facts) bool { return f.GMSADomainless }, names: []string{prefix + "gmsa-domainless"}},
	{feature: PluginCapabilities, linux: true, emit: pluginCapabilities},
	{feature: FSx, when: func(f *Facts) bool { return f.OS == "windows" && f.FSx }, names: []string{prefix + "fsxWindowsFileServer"}},
	{feature: Exec, when: func(f *Facts) bool { return f.ExecAgent }, names: []string{prefix + "execute-command"}},
	{feature: ServiceConnect, linux: true, when: func(f *Facts) bool { return f.ServiceConnectImage }, names: []string{prefix + "service-connect-v1"}},
	{feature: EBS, when: func(f *Facts) bool { return f.EBS && f.CSIImage }, names: []string{prefix + "storage.ebs-task-volume-attach"}},
	{feature: EBS, linux: true, when: func(f *Facts) bool { return f.EBS }, names: []string{prefix + "storage.ebsta-non-root-user"}},
	{when: func(f *Facts) bool { return f.External }, names: []string{prefix + "external"}},
	{feature: FaultInjection, linux: true, when: func(f *Facts) bool { return f.FaultTools }, names: []string{prefix + "fault-injection"}},
	{feature: IPv6Only, linux: true, names: []string{prefix + "ipv6-only"}},
	{feature: IMDSRoles, when: func(f *Facts) bool { return f.IMDSRoles }, names: []string{prefix + "imds-iam-roles"}},
}

// notExternal are attributes that an external instance never has (docs/spec/03
// section 4.7). The branch plugin's version goes with the trunking that needs it.
var notExternal = map[string]bool{
	prefix + "task-eni": true, prefix + "cni-plugin-version": true, prefix + "task-eni.ipv6": true,
	prefix + "task-eni-block-instance-metadata": true, prefix + "task-eni-trunking": true,
	prefix + "branch-cni-plugin-version": true, prefix + "aws-appmesh": true, prefix + "task-eia": true,
	prefix + "task-eia.optimized-cpu": true, prefix + "service-connect-v1": true,
	prefix + "storage.ebs-task-volume-attach": true, prefix + "storage.ebsta-non-root-user": true,
	prefix + "fault-injection": true,
}

// Attributes returns the capabilities, in the specified order and without
// repetition.
func Attributes(f Facts) []Attribute {
	var out []Attribute
	seen := make(map[string]bool)
	for _, r := range rows {
		if r.feature != "" && !f.Implemented[r.feature] || r.linux && f.OS != "linux" || r.when != nil && !r.when(&f) {
			continue
		}
		for _, a := range r.attributes(&f) {
			if seen[a.Name] || f.External && notExternal[a.Name] {
				continue
			}
			seen[a.Name] = true
			out = append(out, a)
		}
	}
	return out
}

func (r *row) attributes(f *Facts) []Attribute {
	if r.emit != nil {
		return r.emit(f)
	}
	out := make([]Attribute, len(r.names))
	for i, name := range r.names {
		out[i].Name = name
	}
	return out
}

// taskENI does not make blocking the metadata service depend on the plugin's
// version: it works without (docs/spec/03 chapter 8, 10).
func taskENI(f *Facts) []Attribute {
	out := []Attribute{{Name: prefix + "task-eni"}}
	if f.OS == "linux" {
		out = append(out, Attribute{Name: prefix + "task-eni.ipv6"})
	}
	if f.CNIVersion != "" {
		out = append(out, Attribute{prefix + "cni-plugin-version", f.CNIVersion})
	}
	if f.BlockIMDS {
		out = append(out, Attribute{Name: prefix + "task-eni-block-instance-metadata"})
	}
	return out
}

func trunking(f *Facts) []Attribute {
	out := []Attribute{{Name: prefix + "task-eni-trunking"}}
	if f.BranchCNIVersion != "" {
		out = append(out, Attribute{prefix + "branch-cni-plugin-version", f.BranchCNIVersion})
	}
	return out
}

func gpuDriver(f *Facts) []Attribute {
	return []Attribute{{Name: prefix + "nvidia-driver-version." + f.GPUDriver}, {prefix + "gpu-driver-version", f.GPUDriver}}
}

func pluginCapabilities(f *Facts) []Attribute {
	out := make([]Attribute, len(f.PluginCapabilities))
	for i, c := range f.PluginCapabilities {
		out[i].Name = prefix + c
	}
	return out
}

func hasVectorUnits(f *Facts) bool {
	for _, flag := range []string{"avx", "avx2", "sse4_1", "sse4_2"} {
		if !slices.Contains(f.CPUFlags, flag) {
			return false
		}
	}
	return true
}
