package config

import (
	"net/netip"
	"time"

	"ecsagent/agent/secret"
)

// Config is the effective configuration: every value parsed, bounded and resolved.
// It is not changed after Load, so it may be read from any goroutine.
type Config struct {
	// Identity, cluster, endpoint (docs/spec/03 section 1.10.1).

	Cluster                    string // as configured; empty means "default", made if missing
	Region                     string
	APIEndpoint                string // ECS API endpoint with its scheme; empty: the region's
	External                   bool   // ECS Anywhere
	NoIID                      bool   // register without the instance identity document
	InstanceIPFamily           string // "ipv4", "ipv6", or "" to find out
	DetailedOSFamily           string // empty: the attribute is left out
	ReservedMemory             int    // MiB
	ReservedPorts              []uint16
	ReservedPortsUDP           []uint16
	InstanceAttributes         map[string]string
	ContainerInstanceTags      map[string]string
	PropagateTagsFrom          string // "none" or "ec2_instance"
	AlternateCredentialProfile string
	RotatingCredentialsFile    string
	SpotInstanceDraining       bool
	WarmPoolsCheck             bool
	IMDSIAMRolesEnabled        bool

	// Docker engine and registry authentication (1.10.2).

	DockerEndpoint                 string
	EngineAuthType                 string // "", "docker" or "dockercfg"
	EngineAuthData                 secret.String
	AvailableLoggingDrivers        []string
	PrivilegedDisabled             bool
	SELinuxCapable                 bool
	AppArmorCapable                bool
	DockerHealthCheckDisabled      bool
	DependentContainersPullUpfront bool
	SharedVolumeMatchFullConfig    bool
	VolumePluginCapabilities       []string
	DynamicHostPortRange           PortRange
	ExcludeIPv6PortBinding         bool
	FirelensAsync                  bool
	PauseLabels                    map[string]string

	// State, data, files (1.10.3).

	ConfigFile               string // env file of the user
	InstanceConfigFile       string // env file of the image builder
	JSONFile                 string
	DataDir                  string
	HostDataDir              string // host directory whose data/ the task mounts are built from
	Checkpoint               bool
	ContainerMetadataEnabled bool
	UpdatesEnabled           bool
	UpdateDownloadDir        string
	RuntimeStatsLogFile      string
	CloudInitResultFile      string
	RunDir                   string // sockets shared with task containers
	TaskLogDir               string // logs of managed agents in tasks
	ManagedAgentsDir         string // exec agent, Service Connect
	GPUInfoFile              string
	EBSMountDir              string
	EBSCSIImage              string

	// Time limits and clean-up (1.10.4).

	ContainerStopTimeout               time.Duration
	ContainerStartTimeout              time.Duration
	ContainerCreateTimeout             time.Duration
	ManifestPullTimeout                time.Duration
	ImagePullInactivityTimeout         time.Duration
	ImagePullTimeout                   time.Duration
	TaskCleanupWait                    time.Duration
	TaskCleanupWaitJitter              time.Duration
	ImageCleanupDisabled               bool
	ImageCleanupInterval               time.Duration
	ImageMinimumCleanupAge             time.Duration
	NonECSImageMinimumCleanupAge       time.Duration
	NumImagesToDeletePerCycle          int
	NumNonECSContainersDeletedPerCycle int
	UntrackedImageCleanup              bool
	ImageCleanupExclusions             []string
	ImagePullBehavior                  string // "default", "always", "once", "prefer-cached"
	ImagePullsAtOnce                   int
	ImageDiskHigh                      int // per cent; 0: off
	ImageDiskLow                       int // per cent; see ImageDiskLowMark

	// Task roles, metadata endpoint, audit (1.10.5).

	TaskIAMRole                  bool
	TaskIAMRoleNetworkHost       bool
	AuditLogFile                 string
	AuditLogDisabled             bool
	TaskMetadataRate             RateLimit
	TaskMetadataAZDisabled       bool
	OverrideAWSLogsExecutionRole bool
	IntrospectionAddress         string
	TaskEndpointAddress          string
	BindCredentials              bool   // ids are good only for their own tasks
	CredentialsDir               string // memory-backed; "off": nothing is kept
	HealthcheckHost              string

	// Networking (1.10.6).

	TaskENI                     bool
	ENITrunking                 bool
	CNIPluginsPath              string
	AWSVPCBlockIMDS             bool
	AWSVPCAdditionalLocalRoutes []netip.Prefix
	AWSVPCLocalIPv4             netip.Prefix // invalid: chosen per task
	ENIPauseCleanupDelay        time.Duration
	InstanceENIDNSServers       []string
	PauseImageName              string
	PauseImageTag               string
	PauseImageTarball           string
	HostRules                   string // RulesBy...
	AgentContainerImage         string // empty: the agent is no container
	HostRulesBackend            string
	BridgeBlockIMDS             bool

	// Resource limits (1.10.7).

	TaskCPUMemLimit                  bool // see Explicit for "must" against "if possible"
	CgroupPath                       string
	CgroupCPUPeriod                  time.Duration
	TaskPidsLimit                    int // 0: unlimited
	PropagateTaskMemoryLimit         bool
	CPUUnboundedWindowsWorkaround    bool
	MemoryUnboundedWindowsWorkaround bool

	// Metrics (1.10.8).

	DisableMetrics     bool
	PollMetrics        bool
	PollingMetricsWait time.Duration
	RuntimeStats       bool
	Prometheus         bool
	PrometheusAddress  string

	// GPU, accelerators, EBS, gMSA, FSx (1.10.9).

	GPUSupport                   bool
	NvidiaRuntime                string
	InferentiaSupport            bool
	EBSTaskAttach                bool
	CSIDriverSocket              string
	NodeStageTimeout             time.Duration
	NodeUnstageTimeout           time.Duration
	GMSA                         bool
	GMSADomainless               bool
	CredentialsFetcherHost       string // as configured, unix:// URL
	CredentialsFetcherSocket     string // path; resolved from the host form when unset
	CredentialsFetcherSecretName string
	DomainJoinedLinux            bool
	FSxWindowsFileServer         bool

	// The host, its preparation, and the command line.

	FIPS                       bool // the kernel runs in FIPS mode
	SkipLocalhostTrafficFilter bool
	AllowOffhostIntrospection  bool
	AcceptInsecureCertificates bool // flag -k
	BlackholeMetadata          bool // flag -blackhole-ec2-metadata, or external

	// Switches for tests (1.10.11).

	TestENILinks                          string // links that play elastic network interfaces
	SkipDomainJoinCheck                   bool
	SkipDomainlessCheck                   bool
	SkipCredentialsFetcherInvocationCheck bool
	SkipWindowsServerVersionCheck         bool

	Log   LogSettings
	Proxy ProxySettings
	AWS   AWSSettings

	origins map[string]Origin
}

// LogSettings are the logging variables (docs/spec/03 section 3.2), resolved.
type LogSettings struct {
	Level           string // console: "debug", "info", "warn", "error", "critical", "off"
	LevelOnInstance string // file; same words
	File            string // empty: no file
	Driver          string // only decides the default of LevelOnInstance
	Rollover        string // "size", "hourly", "none"
	Format          string // "logfmt", "json"
	MaxFileSizeMB   float64
	MaxRollCount    int // rotated files kept; 0 or less: all
}

// ProxySettings are the proxy variables, as text (docs/spec/03 section 7.5).
type ProxySettings struct {
	HTTP  string
	HTTPS string
	No    string
}

// AWSSettings are the variables that the AWS SDK and Go's TLS stack understand
// (docs/spec/03 section 1.10.12). They are here so that they can be checked, shown
// and, when they stand in a file, exported with Export.
type AWSSettings struct {
	AccessKeyID           secret.String
	SecretAccessKey       secret.String
	SessionToken          secret.String
	Profile               string
	SharedCredentialsFile string
	ConfigFile            string
	RoleARN               string
	WebIdentityTokenFile  string
	UseFIPSEndpoint       bool
	UseDualstackEndpoint  bool
	EndpointURL           string
	EndpointURLs          map[string]string // by the suffix of AWS_ENDPOINT_URL_<SERVICE>
	MetadataDisabled      bool
	MetadataEndpoint      string
	MetadataEndpointMode  string
	MetadataV1Disabled    bool
	MaxAttempts           int // 0: the SDK's own
	RetryMode             string
	CABundle              string
	SSLCertFile           string
	SSLCertDir            string
}

// PortRange is an inclusive range of ports.
type PortRange struct{ First, Last uint16 }

// RateLimit is a request rate per second and its burst.
type RateLimit struct{ Steady, Burst int }

// Origin tells where the effective value of a setting comes from; name is the
// variable's name, or the JSON member's for settings without a variable.
func (c *Config) Origin(name string) Origin { return c.origins[name] }

// ImageDiskLowMark is where removing images because of a full disk ends, in per cent.
func (c *Config) ImageDiskLowMark() int {
	if c.ImageDiskLow <= 0 || c.ImageDiskLow >= c.ImageDiskHigh {
		return max(0, c.ImageDiskHigh-10)
	}
	return c.ImageDiskLow
}

// Explicit reports whether somebody set the setting, as opposed to a default.
func (c *Config) Explicit(name string) bool {
	switch c.origins[name].Source {
	case SourceNone, SourceDefault, SourceForced:
		return false
	default:
		return true
	}
}
