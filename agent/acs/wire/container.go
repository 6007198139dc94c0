package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

// maxSeconds bounds durations that come in seconds: some 68 years.
const maxSeconds = math.MaxInt32

// readContainer reads one container (docs/spec/01 section 2.9.4).
func readContainer(o object) task.Container {
	c := task.Container{
		Name: o.required("name"), ARN: o.text("containerArn"), Image: o.text("image"),
		Command: readCommand(o), EntryPoint: o.texts("entryPoint"), Environment: o.textMap("environment"),
		Essential: o.flag("essential"),
		CPU:       o.integer("cpu", 0, math.MaxInt64), Memory: o.integer("memory", 0, math.MaxInt64>>20),
		Links:        o.texts("links"),
		StartTimeout: readSeconds(o, "startTimeout"), StopTimeout: readSeconds(o, "stopTimeout"),
		RegistryAuth: readRegistryAuth(o), LogsAuthStrategy: o.text("logsAuthStrategy"),
		HealthCheckType: o.text("healthCheckType"), CredentialSpecs: o.texts("credentialSpecs"),
	}
	if o.d.err == nil {
		if err := checkFileName(c.Name); err != nil {
			o.d.fail(fmt.Errorf("%s %w", o.at("name"), err))
		}
	}
	readDocker(o, &c)
	for _, p := range o.each("portMappings") {
		c.Ports = append(c.Ports, readPort(p))
	}
	for _, m := range o.each("mountPoints") {
		c.MountPoints = append(c.MountPoints, task.MountPoint{
			SourceVolume: m.text("sourceVolume"), ContainerPath: m.text("containerPath"), ReadOnly: m.flag("readOnly"),
		})
	}
	for _, v := range o.each("volumesFrom") {
		c.VolumesFrom = append(c.VolumesFrom, task.VolumeFrom{
			SourceContainer: v.text("sourceContainer"), ReadOnly: v.flag("readOnly"),
		})
	}
	for _, e := range o.each("environmentFiles") {
		c.EnvFiles = append(c.EnvFiles, task.EnvFile{Value: e.text("value"), Type: e.text("type")})
	}
	for _, s := range o.each("secrets") {
		c.Secrets = append(c.Secrets, task.Secret{
			Name: s.text("name"), ValueFrom: s.text("valueFrom"), Region: s.text("region"), Provider: s.text("provider"),
			Type: s.text("type"), Target: s.text("target"), ContainerPath: s.text("containerPath"),
		})
	}
	for _, d := range o.each("dependsOn") {
		c.DependsOn = append(c.DependsOn, readDependency(d))
	}
	readExtras(o, &c)
	return c
}

// readExtras reads the members that start further machinery.
func readExtras(o object, c *task.Container) {
	if f := o.inner("firelensConfiguration"); f.members != nil {
		c.FireLens = &task.FireLens{Type: f.text("type"), Options: f.textMap("options")}
	}
	for _, m := range o.each("managedAgents") {
		c.ManagedAgents = append(c.ManagedAgents, task.ManagedAgent{Name: m.text("name"), Properties: m.textMap("properties")})
	}
	if r := o.inner("restartPolicy"); r.members != nil {
		c.Restart = &task.RestartPolicy{
			Enabled: r.flag("enabled"), IgnoredExitCodes: readExitCodes(r),
			AttemptPeriod: readSeconds(r, "restartAttemptPeriod"),
		}
	}
}

// readDocker reads the documents that Docker will see. They are decoded when the
// container is created, so that a bad one fails that container with its specified
// error.
func readDocker(o object, c *task.Container) {
	d := o.secret("dockerConfig")
	c.DockerVersion, c.DockerConfig, c.DockerHostConfig = d.text("version"), d.text("config"), d.text("hostConfig")
}

// readCommand applies the override, which comes as a string that holds JSON or as
// an object, and of which only "command" is known.
func readCommand(o object) []string {
	command := o.texts("command")
	const name = "overrides"
	var over object
	switch v := o.get(name).(type) {
	case nil:
		return command
	case map[string]any:
		over = o.inner(name)
	case string:
		parsed, err := parse([]byte(v))
		if err != nil {
			o.d.fail(fmt.Errorf("%s is %s: want a JSON object: %w", o.at(name), quote(v), err))
			return command
		}
		members, ok := parsed.(map[string]any)
		if !ok && parsed != nil {
			o.d.fail(fmt.Errorf("%s holds %s: want a JSON object", o.at(name), describe(parsed, true)))
			return command
		}
		over = object{d: o.d, path: o.at(name), members: members}
	default:
		o.reject(name, "a JSON object in a string")
		return command
	}
	for member := range over.members {
		if !strings.EqualFold(member, "command") {
			o.d.fail(fmt.Errorf("%s has the unknown member %s: only command can be overridden", o.at(name), quote(member)))
		}
	}
	if replaced := over.texts("command"); replaced != nil {
		return replaced
	}
	return command
}

func readPort(o object) task.PortMapping {
	p := task.PortMapping{
		ContainerPort: readPortNumber(o, "containerPort"), HostPort: readPortNumber(o, "hostPort"),
		Range: o.text("containerPortRange"), Protocol: task.TCP,
	}
	switch proto := o.text("protocol"); proto {
	case "tcp", "":
		if o.has("protocol") && proto == "" {
			o.reject("protocol", `"tcp" or "udp"`)
		}
	case "udp":
		p.Protocol = task.UDP
	default:
		o.reject("protocol", `"tcp" or "udp"`)
	}
	switch {
	case p.Range != "" && p.ContainerPort != 0:
		o.reject("containerPortRange", "a port or a range, not both")
	case p.Range != "" && !validRange(p.Range):
		o.reject("containerPortRange", `two ports as "first-last"`)
	case p.Range == "" && p.ContainerPort == 0:
		o.reject("containerPort", "a port from 1 to 65535, or containerPortRange")
	}
	return p
}

func readPortNumber(o object, name string) uint16 {
	return uint16(o.integer(name, 0, math.MaxUint16)) // integer has checked the limits
}

func validRange(s string) bool {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return false
	}
	a, okA := wholeNumber(json.Number(first))
	b, okB := wholeNumber(json.Number(last))
	return okA && okB && 1 <= a && a <= b && b <= math.MaxUint16
}

func readDependency(o object) task.Dependency {
	d := task.Dependency{Container: o.required("containerName"), Condition: task.Condition(o.text("condition"))}
	known := []task.Condition{task.DependsStart, task.DependsComplete, task.DependsSuccess, task.DependsHealthy, task.DependsCreate}
	if !slices.Contains(known, d.Condition) {
		o.reject("condition", "START, COMPLETE, SUCCESS or HEALTHY")
	}
	return d
}

func readRegistryAuth(o object) *task.RegistryAuth {
	r := o.inner("registryAuthentication")
	if r.members == nil {
		return nil
	}
	auth := &task.RegistryAuth{Type: r.text("type")}
	if e := r.inner("ecrAuthData"); e.members != nil {
		auth.ECR = &task.ECRAuth{
			RegistryID: e.text("registryId"), Region: e.text("region"),
			EndpointOverride: e.text("endpointOverride"), UseExecutionRole: e.flag("useExecutionRole"),
		}
	}
	if a := r.inner("asmAuthData"); a.members != nil {
		auth.ASM = &task.ASMAuth{CredentialsParameter: a.text("credentialsParameter"), Region: a.text("region")}
	}
	return auth
}

func readExitCodes(o object) []int {
	list, _ := o.list("ignoredExitCodes", "a list of whole numbers")
	var codes []int
	for i, v := range list {
		n, ok := wholeNumber(v)
		if !ok || n < math.MinInt32 || n > math.MaxUint32 {
			o.d.fail(fmt.Errorf("%s[%d] is %s: want an exit code", o.at("ignoredExitCodes"), i, describe(v, false)))
			return nil
		}
		codes = append(codes, int(n))
	}
	return codes
}

func readSeconds(o object, name string) time.Duration {
	return time.Duration(o.integer(name, 0, maxSeconds)) * time.Second
}

func secretText(o object, name string) secret.String { return secret.String(o.text(name)) }
