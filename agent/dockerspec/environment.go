package dockerspec

import (
	"maps"
	"slices"
	"strings"

	"ecsagent/agent/task"
)

// endpointURL is where containers find the agent.
const endpointURL = "http://169.254.170.2"

// environment is the container's environment as K=V, sorted
// (docs/spec/02 section 4.4). Pause containers have none.
func (b *build) environment() []string {
	if b.c.Internal() {
		return nil
	}
	env := make(map[string]string, len(b.c.Environment)+8)
	maps.Copy(env, b.in.EnvFiles)
	maps.Copy(env, b.c.Environment)
	maps.Copy(env, b.in.Secrets)
	maps.Copy(env, b.in.Variables)
	if id := b.cs.EndpointID; id != "" {
		env["ECS_CONTAINER_METADATA_URI"] = endpointURL + "/v3/" + id
		env["ECS_CONTAINER_METADATA_URI_V4"] = endpointURL + "/v4/" + id
		env["ECS_AGENT_URI"] = endpointURL + "/api/" + id
	}
	if b.knows(b.spec.CredentialsID) {
		env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/" + b.spec.CredentialsID
	}
	if b.env.GPU.Enabled && !b.env.GPU.External && len(b.c.GPUs) > 0 {
		env[gpuVariable] = strings.Join(b.c.GPUs, ",")
	}
	if f := b.c.FireLens; f != nil && f.Type == task.FluentD {
		env["FLUENT_UID"] = "0"
	}
	if b.router != "" {
		env["FLUENT_HOST"], env["FLUENT_PORT"] = b.router, routerPort
	}
	if b.pauses != "" {
		env["APPNET_CONTAINER_IP_MAPPING"] = b.pauses
	}
	if b.env.Region != "" && !setsRegion(env, b.in.ImageEnv) {
		env["AWS_REGION"] = b.env.Region
		env["AWS_DEFAULT_REGION"] = b.env.Region
	}
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// setsRegion reports whether the container or its image names a region; an empty
// value counts.
func setsRegion(env map[string]string, imageEnv []string) bool {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if _, ok := env[name]; ok {
			return true
		}
		for _, kv := range imageEnv {
			if k, _, _ := strings.Cut(kv, "="); k == name {
				return true
			}
		}
	}
	return false
}

// knows reports whether there is such a set of credentials.
func (b *build) knows(id string) bool {
	return id != "" && (b.env.KnowsCredentials == nil || b.env.KnowsCredentials(id))
}

// wants reports whether the container's environment has the variable.
func (b *build) wants(variable string) bool {
	for _, vars := range []map[string]string{b.in.Secrets, b.c.Environment, b.in.EnvFiles} {
		if _, ok := vars[variable]; ok {
			return true
		}
	}
	return variable == gpuVariable && len(b.c.GPUs) > 0
}
