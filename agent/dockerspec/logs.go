package dockerspec

import (
	"maps"
	"slices"

	"ecsagent/agent/task"
)

// Log drivers and options (docs/spec/02 section 4.5).
const (
	driverAWSLogs     = "awslogs"
	optionCredentials = "awslogs-credentials-endpoint"
	optionEndpoint    = "awslogs-endpoint"
	optionRegion      = "awslogs-region"
	optionMode        = "mode"
	optionBuffer      = "max-buffer-size"
	defaultBuffer     = "10m"
)

// isolatedRegions are those whose endpoint Docker cannot work out.
var isolatedRegions = []string{
	"us-isob-east-1", "us-iso-east-1", "us-iso-west-1", "eu-isoe-west-1",
	"us-isof-south-1", "us-isof-east-1", "us-isob-west-1", "eusc-de-east-1",
}

// logs completes the log configuration that ECS rendered.
func (b *build) logs() error {
	log := &b.host.LogConfig
	set := func(option, value string) {
		if log.Config == nil {
			log.Config = make(map[string]string)
		}
		log.Config[option] = value
	}
	if b.c.LogsAuthStrategy == "ExecutionRole" {
		switch id := b.spec.ExecutionCredentialsID; {
		case id == "":
			return failure(nameHostConfig, "No execution credentials set for the task")
		case !b.knows(id):
			return failure(nameHostConfig, "Unable to get execution role credentials for task")
		default:
			set(optionCredentials, "/v2/credentials/"+id)
		}
	}
	if log.Type == task.FireLensDriver {
		return b.routedLog()
	}
	if log.Type == driverAWSLogs {
		if endpoint := b.logsEndpoint(); endpoint != "" {
			set(optionEndpoint, endpoint)
		}
	}
	if log.Config[optionMode] == "non-blocking" && log.Config[optionBuffer] == "" {
		set(optionBuffer, defaultBuffer)
	}
	for _, option := range slices.Sorted(maps.Keys(b.in.LogOptions)) {
		if value := b.in.LogOptions[option]; value != "" {
			set(option, value)
		}
	}
	return nil
}

// logsEndpoint is the endpoint that the driver must be told, or empty. A region
// that cannot be resolved is left to Docker.
func (b *build) logsEndpoint() string {
	if b.env.LogsEndpoint == nil {
		return ""
	}
	options := b.host.LogConfig.Config
	var endpoint string
	var err error
	switch {
	case b.env.IPv6Only:
		if options[optionEndpoint] != "" || options[optionRegion] == "" || b.env.OldEngine {
			return ""
		}
		endpoint, err = b.env.LogsEndpoint(options[optionRegion], true)
	case slices.Contains(isolatedRegions, b.env.Region):
		endpoint, err = b.env.LogsEndpoint(b.env.Region, false)
	}
	if err != nil {
		return ""
	}
	return endpoint
}
