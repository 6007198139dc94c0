package capability

import "fmt"

// Attribute is a name with an optional value.
type Attribute struct{ Name, Value string }

// Feature is a part of the agent that may or may not exist in this program.
type Feature string

// Features, in the order in which their attributes appear.
const (
	PrivateRegistryAuth Feature = "private-registry-auth"  // registry passwords from Secrets Manager
	SSMSecrets          Feature = "ssm-secrets"            // environment from the parameter store
	SSMLogSecrets       Feature = "ssm-log-secrets"        // log driver options from the parameter store
	ECREndpoint         Feature = "ecr-endpoint"           // ECR endpoint overrides
	ASMSecrets          Feature = "asm-secrets"            // environment from Secrets Manager
	ASMLogSecrets       Feature = "asm-log-secrets"        // log driver options from Secrets Manager
	ContainerOrdering   Feature = "container-ordering"     // dependsOn
	FullSync            Feature = "full-sync"              // task manifests
	EnvFiles            Feature = "env-files"              // environment files from S3
	PortRange           Feature = "port-range"             // ranges of container ports
	RestartPolicy       Feature = "restart-policy"         // container restart policies
	Privileged          Feature = "privileged"             // privileged containers
	LogDrivers          Feature = "log-drivers"            // Docker log drivers
	SecurityOptions     Feature = "security-options"       // SELinux and AppArmor options
	TaskRole            Feature = "task-role"              // credentials endpoint, bridge mode
	TaskRoleHost        Feature = "task-role-host"         // credentials endpoint, host mode
	TaskLimits          Feature = "task-limits"            // task-level CPU and memory limits
	AWSVPC              Feature = "awsvpc"                 // task ENIs
	Trunking            Feature = "trunking"               // branch ENIs
	ECRAuth             Feature = "ecr-auth"               // pulls from ECR with the instance's credentials
	ExecutionRoleECR    Feature = "execution-role-ecr"     // pulls from ECR with the execution role
	HealthChecks        Feature = "health-checks"          // container health checks
	ExecutionRoleLogs   Feature = "execution-role-awslogs" // awslogs with the execution role
	DockerVolumes       Feature = "docker-volumes"         // Docker volumes, also of plugins
	GPU                 Feature = "gpu"                    // GPU devices
	NamespaceSharing    Feature = "namespace-sharing"      // pidMode and ipcMode "task"
	AppMesh             Feature = "app-mesh"               // proxy configuration
	ElasticInference    Feature = "elastic-inference"      // Elastic Inference accelerators
	FireLens            Feature = "firelens"               // log routers
	FireLensNonRoot     Feature = "firelens-non-root"      // log routers as another user
	EFS                 Feature = "efs"                    // Elastic File System volumes
	S3Files             Feature = "s3-files"               // S3 Files volumes
	FireLensConfig      Feature = "firelens-config"        // router configuration from a file or S3
	PluginCapabilities  Feature = "plugin-capabilities"    // volume plugin capabilities, such as efsAuth
	GMSA                Feature = "gmsa"                   // credential specs
	FSx                 Feature = "fsx"                    // FSx for Windows File Server volumes
	Exec                Feature = "exec"                   // ECS Exec
	ServiceConnect      Feature = "service-connect"        // Service Connect
	EBS                 Feature = "ebs"                    // EBS volumes attached to tasks
	FaultInjection      Feature = "fault-injection"        // network faults
	IPv6Only            Feature = "ipv6-only"              // tasks on IPv6-only hosts
	IMDSRoles           Feature = "imds-roles"             // task roles through IMDS
)

// Features is a set of Feature.
type Features map[Feature]bool

// Implemented makes a set.
func Implemented(features ...Feature) Features {
	set := make(Features, len(features))
	for _, f := range features {
		set[f] = true
	}
	return set
}

// All returns every feature that exists, for a program that lacks none.
func All() Features {
	set := make(Features)
	for _, r := range rows {
		if r.feature != "" {
			set[r.feature] = true
		}
	}
	return set
}

// Facts is everything that decides about attributes.
type Facts struct {
	OS          string // linux or windows
	External    bool
	Implemented Features

	// DockerAPIs are the supported API versions, from DockerAPIs.
	DockerAPIs []string
	// VolumePlugins are the Docker volume plugins: the legacy ones by name, the
	// managed ones by name and tag.
	VolumePlugins []string
	PauseImage    bool // the pause image is present

	PrivilegedDisabled   bool     // ECS_DISABLE_PRIVILEGED
	LogDrivers           []string // ECS_AVAILABLE_LOGGING_DRIVERS
	SELinux              bool     // ECS_SELINUX_CAPABLE
	AppArmor             bool     // ECS_APPARMOR_CAPABLE
	TaskRole             bool     // ECS_ENABLE_TASK_IAM_ROLE
	TaskRoleHost         bool     // ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST
	TaskLimits           bool     // ECS_ENABLE_TASK_CPU_MEM_LIMIT, and the cgroup root works
	TaskLimitsExplicit   bool     // it was asked for rather than the default
	HealthChecksDisabled bool     // ECS_DISABLE_DOCKER_HEALTH_CHECK
	ExecutionRoleLogs    bool     // ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE
	PluginCapabilities   []string // ECS_VOLUME_PLUGIN_CAPABILITIES
	IMDSRoles            bool

	TaskENI          bool   // ECS_ENABLE_TASK_ENI, and not switched off at start
	BlockIMDS        bool   // ECS_AWSVPC_BLOCK_IMDS
	Trunking         bool   // ECS_ENABLE_HIGH_DENSITY_ENI
	CNIVersion       string // of the task ENI plugin, empty when it does not answer
	BranchCNIVersion string // of the branch ENI plugin

	GPU                 bool   // ECS_ENABLE_GPU_SUPPORT
	GPUDriver           string // version of the driver
	CPUFlags            []string
	GMSA                bool // support was detected
	GMSADomainless      bool
	FSx                 bool
	ExecAgent           bool // the exec agent's files are complete
	ServiceConnectImage bool // the Service Connect image is loaded
	EBS                 bool // ECS_EBSTA_SUPPORTED
	CSIImage            bool // the image of the CSI daemon is present
	FaultTools          bool // the tools for fault injection are present and work
}

// Check reports what was explicitly asked for and cannot be had.
func Check(f Facts) error {
	if f.TaskLimits && f.TaskLimitsExplicit && !f.api("1.22") {
		return fmt.Errorf("task CPU and memory limits are switched on but need Docker API 1.22: this engine supports %q", f.DockerAPIs)
	}
	return nil
}

func (f *Facts) api(version string) bool {
	for _, v := range f.DockerAPIs {
		if v == version {
			return true
		}
	}
	return false
}
