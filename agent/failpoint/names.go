package failpoint

// places are what failpoints stand around, by area. Each has a .before and an .after.
// One line here and the two calls in the code are all that a new one needs: tests/fault
// fails for a place that no scenario passes, and for one that is passed and not listed.
var places = map[string][]string{
	// Writes to the state file (agent/store). Several of them may be one entry of the
	// journal, or one transaction of the file itself, which is commit.
	"store": {"tasks", "state", "sent", "sequence", "delete", "meta", "images", "journal", "commit", "attachment"},
	// Calls to Docker (agent/runtime/docker).
	"docker": {
		"version", "getting-info", "listing-plugins", "listing", "inspecting", "pullBegin", "pulled", "MANIFEST_PULLED",
		"created", "started", "stopped", "removing", "creating-volume", "inspecting-volume", "removing-volume",
		"exec-command", "start-exec-command", "inspect-exec-command", "list-processes", "removing-image",
	},
	// Calls to ECS (agent/awsenv).
	"ecs": {
		"CreateCluster", "RegisterContainerInstance", "DiscoverPollEndpoint", "SubmitTaskStateChange", "UpdateContainerInstancesState",
		"SubmitAttachmentStateChanges", "ListTagsForResource", "GetTaskProtection", "UpdateTaskProtection",
	},
	// Calls to the services that tasks' resources come from (agent/awsenv), each attempt.
	"ssm":            {"GetParameters"},
	"secretsmanager": {"BatchGetSecretValue", "GetSecretValue"},
	"s3":             {"GetObject"},
	"ecr":            {"GetAuthorizationToken"},
	// Calls to credentials-fetcher (agent/resource/gmsa/fetcher), each attempt.
	"fetcher": {
		"HealthCheck", "AddKerberosLease", "AddNonDomainJoinedKerberosLease", "RenewNonDomainJoinedKerberosLease", "DeleteKerberosLease",
	},
	// Calls of CNI plugins (agent/network/tasknet).
	"network": {"add-vpc-eni", "add-ecs-bridge", "del-ecs-bridge", "del-vpc-eni", "del-ecs-ipam"},
	// Resources of tasks (agent/engine).
	"resource": {"provision", "clean-up"},
	// Messages of ACS (agent/acs), around what is done about them.
	"acs": {"connect", "payload", "send", "manifest", "heartbeat", "credentials"},
}

// limited are the limits that a test may shorten: those of all plugins for one task
// (agent/network/tasknet).
var limited = []string{"network.set-up", "network.tear-down"}

// All returns the name of every failpoint, in no order.
func All() []string {
	var all []string
	for area, list := range places {
		for _, what := range list {
			all = append(all, area+"."+what+".before", area+"."+what+".after")
		}
	}
	return all
}
