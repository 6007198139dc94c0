package taskdef

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ecsagent/controlplane/api"
)

func (c *checker) taskVolumes() {
	for i := range c.def.Volumes {
		v := &c.def.Volumes[i]
		field := fmt.Sprintf("volumes[%d]", i)
		switch {
		case !nameForm.MatchString(v.Name):
			c.bad(field+".name", "Invalid volume name '%s': up to 255 letters, numbers, hyphens and underscores are allowed.", clip(v.Name))
		case c.volumes[v.Name]:
			c.bad(field+".name", "Volume names must be unique: '%s' is used more than once.", clip(v.Name))
		}
		c.volumes[v.Name] = true
		if isTrue(v.ConfiguredAtLaunch) {
			if c.atLaunch != "" {
				c.bad(field+".configuredAtLaunch", "Only one volume can be configured at launch: '%s' and '%s' are marked.", clip(c.atLaunch), clip(v.Name))
			}
			c.atLaunch = v.Name
		}
		kinds := 0
		for _, given := range []bool{v.Host != nil, v.Docker != nil, v.EFS != nil, v.S3Files != nil, v.FSx != nil, isTrue(v.ConfiguredAtLaunch)} {
			if given {
				kinds++
			}
		}
		if kinds > 1 {
			c.bad(field, "Volume '%s' must have only one configuration.", clip(v.Name))
		}
		c.volumeKind(field, v)
	}
}

func (c *checker) volumeKind(field string, v *api.Volume) {
	if d := v.Docker; d != nil {
		field := field + ".dockerVolumeConfiguration"
		c.oneOf(field+".scope", d.Scope, "task", "shared")
		if isTrue(d.Autoprovision) && d.Scope != "shared" {
			c.bad(field+".autoprovision", "autoprovision is only supported with scope shared.")
		}
	}
	if e := v.EFS; e != nil {
		field := field + ".efsVolumeConfiguration"
		if e.FileSystemID == "" {
			c.bad(field+".fileSystemId", "fileSystemId should not be null or empty.")
		}
		c.oneOf(field+".transitEncryption", e.TransitEncryption, "ENABLED", "DISABLED")
		c.between(field+".transitEncryptionPort", e.TransitEncryptionPort, 1, 65535)
		if a := e.AuthorizationConfig; a != nil {
			c.oneOf(field+".authorizationConfig.iam", a.IAM, "ENABLED", "DISABLED")
			if (a.IAM == "ENABLED" || a.AccessPointID != "") && e.TransitEncryption != "ENABLED" {
				c.bad(field+".transitEncryption", "transitEncryption must be ENABLED when authorizationConfig is used.")
			}
			if a.AccessPointID != "" && e.RootDirectory != "" && e.RootDirectory != "/" {
				c.bad(field+".rootDirectory", "rootDirectory must be omitted or / when an access point is used.")
			}
		}
	}
	if f := v.FSx; f != nil && (f.FileSystemID == "" || f.RootDirectory == "" || f.AuthorizationConfig.CredentialsParameter == "" || f.AuthorizationConfig.Domain == "") {
		c.bad(field+".fsxWindowsFileServerVolumeConfiguration", "fileSystemId, rootDirectory and authorizationConfig are required.")
	}
	if s := v.S3Files; s != nil && s.FileSystemARN == "" {
		c.bad(field+".s3filesVolumeConfiguration.fileSystemArn", "fileSystemArn should not be null or empty.")
	}
}

var logDrivers = []string{"json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "awsfirelens"}

func (p part) logging() {
	l := p.cd.LogConfiguration
	if l == nil {
		return
	}
	if l.LogDriver == "" {
		p.bad("logConfiguration.logDriver", "Log driver should not be null or empty.")
	}
	p.oneOf("logConfiguration.logDriver", l.LogDriver, logDrivers...)
	switch l.LogDriver {
	case "awslogs":
		var missing []string
		for _, o := range []string{"awslogs-region", "awslogs-group"} {
			if l.Options[o] == "" {
				missing = append(missing, o)
			}
		}
		if len(missing) > 0 {
			p.bad("logConfiguration.options", "Log driver awslogs requires options: %s", strings.Join(missing, ", "))
		}
	case "awsfirelens":
		if !slices.ContainsFunc(p.def.ContainerDefinitions, func(cd api.ContainerDefinition) bool { return cd.FirelensConfiguration != nil }) {
			p.bad("logConfiguration.logDriver", "Log driver awsfirelens requires a container with firelensConfiguration in the task definition.")
		}
	}
}

func (p part) firelens() {
	f := p.cd.FirelensConfiguration
	if f == nil {
		return
	}
	if f.Type == "" {
		p.bad("firelensConfiguration.type", "FireLens type should not be null or empty.")
	}
	p.oneOf("firelensConfiguration.type", f.Type, "fluentd", "fluentbit")
	for _, name := range slices.Sorted(maps.Keys(f.Options)) {
		value := f.Options[name]
		field := "firelensConfiguration.options." + name
		switch name {
		case "config-file-type":
			p.oneOf(field, value, "s3", "file")
		case "enable-ecs-log-metadata":
			p.oneOf(field, value, "true", "false")
		case "config-file-value":
		default:
			p.bad(field, "Unknown FireLens option '%s'.", clip(name))
		}
	}
	if (f.Options["config-file-type"] == "") != (f.Options["config-file-value"] == "") {
		p.bad("firelensConfiguration.options", "config-file-type and config-file-value must be given together.")
	}
}

// compatibility checks what the wanted launch types forbid.
func (c *checker) compatibility() {
	for i, word := range c.def.RequiresCompatibilities {
		c.oneOf(fmt.Sprintf("requiresCompatibilities[%d]", i), word, api.LaunchEC2, api.LaunchFargate, api.LaunchExternal, "MANAGED_INSTANCES")
	}
	if slices.Contains(c.def.RequiresCompatibilities, api.LaunchFargate) {
		c.fargate()
	}
	if slices.Contains(c.def.RequiresCompatibilities, api.LaunchExternal) {
		if c.def.NetworkMode == api.NetworkVPC {
			c.bad("networkMode", "Network mode awsvpc is not supported by launch type EXTERNAL.")
		}
		for i := range c.def.Volumes {
			if v := &c.def.Volumes[i]; v.EFS != nil || v.FSx != nil || v.S3Files != nil {
				c.bad(fmt.Sprintf("volumes[%d]", i), "Volume '%s' is not supported by launch type EXTERNAL.", clip(v.Name))
			}
		}
	}
}

func (c *checker) fargate() {
	d := c.def
	if d.NetworkMode != api.NetworkVPC {
		c.bad("networkMode", "Fargate only supports network mode ‘awsvpc’.")
	}
	switch {
	case d.CPU == "":
		c.bad("cpu", "Fargate requires that 'cpu' be defined at the task level.")
	case d.Memory == "":
		c.bad("memory", "Fargate requires that 'memory' be defined at the task level.")
	case !fargateSize(c.cpu, c.memory):
		c.bad("cpu", "No Fargate configuration exists for given values: %d CPU, %d memory. See the Amazon ECS documentation for the valid values.", c.cpu, c.memory)
	}
	for i := range d.ContainerDefinitions {
		p := part{c, &d.ContainerDefinitions[i], fmt.Sprintf("containerDefinitions[%d]", i)}
		if isTrue(p.cd.Privileged) {
			p.bad("privileged", "Fargate does not support privileged containers.")
		}
		if ECRImage.MatchString(p.cd.Image) && d.ExecutionRoleARN == "" {
			p.bad("image", "Fargate requires task definition to have execution role ARN to support ECR images.")
		}
		p.between("startTimeout", p.cd.StartTimeout, 2, 120)
		p.between("stopTimeout", p.cd.StopTimeout, 0, 120)
	}
}

// retired refuses what AWS has ended.
func (c *checker) retired() {
	const ended = "Amazon Elastic Inference is no longer available: remove its accelerators, and use GPU or Neuron devices."
	if len(c.def.InferenceAccelerators) > 0 {
		c.bad("inferenceAccelerators", ended)
		return
	}
	for i := range c.def.ContainerDefinitions {
		for j, r := range c.def.ContainerDefinitions[i].ResourceRequirements {
			if r.Type == "InferenceAccelerator" {
				c.bad(fmt.Sprintf("containerDefinitions[%d].resourceRequirements[%d].type", i, j), ended)
			}
		}
	}
}
