package capability

// Instance is what registration says of the instance itself, beside capabilities
// (docs/spec/03 section 4.8).
type Instance struct {
	TaskENI         bool // ECS_ENABLE_TASK_ENI; without it the service finds VPC and subnet
	VPCID, SubnetID string
	OSType          string // linux or windows
	OSFamily        string
	// OSDetailed is ECS_DETAILED_OS_FAMILY, on Windows the family; empty leaves the
	// attribute out.
	OSDetailed string
	// Architecture is sent by external instances only.
	Architecture string
	External     bool
	OutpostARN   string
}

// InstanceAttributes returns the attributes of the instance, in the order in which
// registration adds them after the capabilities.
func InstanceAttributes(i Instance) []Attribute {
	var out []Attribute
	add := func(name, value string) {
		if value != "" {
			out = append(out, Attribute{name, value})
		}
	}
	if i.TaskENI && !i.External {
		add("ecs.vpc-id", i.VPCID)
		add("ecs.subnet-id", i.SubnetID)
	}
	add("ecs.os-type", i.OSType)
	add("ecs.os-family", i.OSFamily)
	add("ecs.os-type-detailed", i.OSDetailed)
	if i.External {
		add("ecs.cpu-architecture", i.Architecture)
	}
	add("ecs.outpost-arn", i.OutpostARN)
	return out
}
