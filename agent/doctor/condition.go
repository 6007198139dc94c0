package doctor

// Severity says what a condition does to the instance.
type Severity string

// The severities.
const (
	// Warning wants a look; tasks run.
	Warning Severity = "warning"
	// Impairment keeps the instance from its work, or soon will.
	Impairment Severity = "impairment"
)

// Condition is one thing that can be wrong, as users meet it everywhere.
type Condition struct {
	Code     string // stable, for programs
	Title    string
	Severity Severity
	Text     string // what it means and what to do
}

// Finding is a condition that holds now.
type Finding struct {
	*Condition
	Cause string
}

// The conditions. Codes are stable.
var (
	DockerUnreachable = &Condition{"docker-unreachable", "Docker does not answer", Impairment,
		"No task starts or stops until it does. Look at the Docker service: systemctl status docker, journalctl -u docker."}
	ControlPlaneUnreachable = &Condition{"control-plane-unreachable", "No connection to ECS", Impairment,
		"Running tasks run on; nothing new comes, and what happens here is told to ECS once there is a connection. Look at routes, proxies, DNS, security groups and VPC endpoints for ECS."}
	InstanceInactive = &Condition{"instance-inactive", "ECS does not know this container instance", Impairment,
		"It was deregistered. Its tasks run on and no new ones come. To register anew, stop the agent, remove its state file and start it."}
	DiskNearlyFull = &Condition{"disk-nearly-full", "A disk is nearly full", Warning,
		"Images may fail to be pulled and containers to start. Free space, or let the agent remove images sooner (ECS_IMAGE_CLEANUP_INTERVAL)."}
	DiskFull = &Condition{"disk-full", "A disk is full", Impairment,
		"The agent cannot save its state, or Docker its images. Free space."}
	RulesMissing = &Condition{"rules-missing", "Packet rules are missing", Impairment,
		"Tasks may not reach credentials and metadata at 169.254.170.2, or others reach what they should not. ecs-agent rules check says which; ecs-agent rules apply makes them. ECS_HOST_RULES=agent lets the agent keep them."}
	RulesUnknown = &Condition{"rules-unknown", "Packet rules cannot be checked", Warning,
		"Whether tasks reach credentials and metadata at 169.254.170.2 is not known. ECS_HOST_RULES=none says that they are nobody's business here."}
	ClockSkewed = &Condition{"clock-skewed", "The clock is wrong", Warning,
		"AWS refuses requests of clocks that are five minutes off. Look at the time service: chronyc tracking, timedatectl."}
	ClockWrong = &Condition{"clock-wrong", "The clock is so wrong that AWS refuses requests", Impairment,
		"Nothing signed on this host is valid, the tasks' requests included. Set the clock: chronyc makestep."}
	NetworkingFailing = &Condition{"networking-failing", "The host networking service of Windows does not answer, or lacks Docker's network", Impairment,
		"Tasks of network mode awsvpc get no network, and keep what they have. Look at the service and at the network nat: Get-Service hns, Get-HnsNetwork, docker network inspect nat."}
	StoreFailing = &Condition{"store-failing", "The agent cannot save its state", Impairment,
		"No new tasks are accepted, so that none is lost. Look at the disk of ECS_DATADIR: its space, its mount, its permissions."}
)

// Conditions lists everything that can be found.
func Conditions() []*Condition {
	return []*Condition{
		DockerUnreachable, ControlPlaneUnreachable, InstanceInactive, DiskNearlyFull, DiskFull,
		RulesMissing, RulesUnknown, ClockSkewed, ClockWrong, NetworkingFailing, StoreFailing,
	}
}

// Found makes a finding.
func (c *Condition) Found(cause string) Finding { return Finding{c, cause} }
