package firelens

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/task"
)

// Ports and tags that applications and FireLens images know.
const (
	socketPath = "/var/run/fluent.sock"
	routerPort = "24224"
	healthPort = "8877"
	healthTag  = "firelens-healthcheck"
	logKey     = "log" // of a record, under which Docker sends the output
)

// Options of log driver awsfirelens that are no output's.
const (
	optionInclude = "include-pattern"
	optionExclude = "exclude-pattern"
)

// Memory of the socket's buffer in MiB, without a limit of the container's.
const defaultBuffer = 25

// pair is a name with its value.
type pair struct{ name, value string }

// plan is what a configuration says. Its lists are in the order in which they are written.
type plan struct {
	kind     string
	listen   string // the address on which to listen for other containers; empty: not at all
	buffer   int64  // MiB
	routes   []route
	metadata []pair // added to every record
	external string // the path of a file to include
}

// route is what happens with the output of one container.
type route struct {
	container        string
	include, exclude string // patterns; empty: all and nothing
	plugin           string // empty: the included file says where it goes
	options          []pair
}

// identity is what records tell of where they are from.
type identity struct{ cluster, instanceID string }

// planOf reads the plan out of a task.
func planOf(spec *task.Spec, who identity) (plan, error) {
	router := &spec.Containers[spec.Router()]
	p := plan{kind: router.FireLens.Type, buffer: bufferOf(router)}
	switch spec.NetworkMode {
	case "bridge":
		p.listen = "0.0.0.0"
	case "awsvpc":
		p.listen = "127.0.0.1"
	}
	if addsMetadata(router) {
		if who.instanceID != "" && router.Environment["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2" {
			p.metadata = append(p.metadata, pair{"ec2_instance_id", who.instanceID})
		}
		p.metadata = append(p.metadata, pair{"ecs_cluster", who.cluster}, pair{"ecs_task_arn", spec.ARN},
			pair{"ecs_task_definition", spec.Family + ":" + spec.Version})
	}
	switch router.FireLens.Options[optionConfigType] {
	case "s3":
		p.external = kinds[p.kind].external
	case "file":
		p.external = router.FireLens.Options[optionConfigValue]
	}
	for i := range spec.Containers {
		if !spec.Routed(i) {
			continue
		}
		r, err := routeOf(spec, i, p.kind)
		if err != nil {
			return plan{}, fmt.Errorf("unable to generate firelens config: unable to apply log options of container %s to firelens config: %w",
				spec.Containers[i].Name, err)
		}
		p.routes = append(p.routes, r)
	}
	return p, nil
}

// routeOf reads the log options of a container. Of secret ones the configuration knows
// the variable alone.
func routeOf(spec *task.Spec, i int, kind string) (route, error) {
	c := &spec.Containers[i]
	options := maps.Clone(c.LogConfig().Config)
	if options == nil {
		options = make(map[string]string)
	}
	for _, s := range c.Secrets {
		if s.IsLogOption() {
			options[s.Name] = kinds[kind].placeholder(spec.RouterVariable(i, s.Name))
		}
	}
	pluginKey := kinds[kind].plugin
	r := route{container: c.Name, include: options[optionInclude], exclude: options[optionExclude], plugin: options[pluginKey]}
	for _, name := range []string{optionInclude, optionExclude, pluginKey, dockerspec.BufferOption} {
		delete(options, name)
	}
	if r.plugin == "" && len(options) > 0 {
		return route{}, fmt.Errorf("missing output key %s which is required for firelens configuration of type %s", pluginKey, kind)
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		r.options = append(r.options, pair{name, options[name]})
	}
	return r, nil
}

// bufferOf is half of the memory that the container may use, or is promised.
func bufferOf(router *task.Container) int64 {
	var host struct{ MemoryReservation int64 } // bytes
	limit := int64(0)
	if router.DockerHostConfig != "" && json.Unmarshal([]byte(router.DockerHostConfig), &host) == nil {
		limit = host.MemoryReservation >> 20
	}
	if limit <= 0 {
		limit = router.Memory
	}
	if limit <= 0 {
		return defaultBuffer
	}
	return max(limit/2, 1)
}

// addsMetadata reports whether records are to tell their task.
func addsMetadata(router *task.Container) bool {
	value, ok := router.FireLens.Options[optionMetadata]
	if !ok {
		return true
	}
	on, err := strconv.ParseBool(value)
	return err == nil && on
}

// kind is how one of the two programs is spoken to.
type kind struct {
	config, external string // where it looks for its configuration, and finds the task's own
	plugin           string // the option that names the output
	placeholder      func(variable string) string
	write            func(*plan) string
}

var kinds = map[string]kind{
	task.FluentD: {
		config: "/fluentd/etc/fluent.conf", external: "/fluentd/etc/external.conf", plugin: "@type",
		placeholder: func(variable string) string { return `"#{ENV['` + variable + `']}"` },
		write:       writeFluentd,
	},
	task.FluentBit: {
		config: "/fluent-bit/etc/fluent-bit.conf", external: "/fluent-bit/etc/external.conf", plugin: "Name",
		placeholder: func(variable string) string { return "${" + variable + "}" },
		write:       writeFluentBit,
	},
}

// writeFluentBit writes the configuration of Fluent Bit.
func writeFluentBit(p *plan) string {
	var sections []string
	section := func(name string, lines ...pair) {
		text := "[" + name + "]\n"
		for _, l := range lines {
			text += "    " + l.name + " " + l.value + "\n"
		}
		sections = append(sections, text)
	}
	section("INPUT", pair{"Name", "forward"}, pair{"Mem_Buf_Limit", strconv.FormatInt(p.buffer, 10) + "MB"}, pair{"unix_path", socketPath})
	if p.listen != "" {
		section("INPUT", pair{"Name", "forward"}, pair{"Listen", p.listen}, pair{"Port", routerPort})
		section("INPUT", pair{"Name", "tcp"}, pair{"Tag", healthTag}, pair{"Listen", "127.0.0.1"}, pair{"Port", healthPort})
	}
	match := func(r *route) pair { return pair{"Match", r.container + "-firelens*"} }
	for i := range p.routes {
		if r := &p.routes[i]; r.include != "" {
			section("FILTER", pair{"Name", "grep"}, match(r), pair{"Regex", logKey + " " + r.include})
		}
	}
	for i := range p.routes {
		if r := &p.routes[i]; r.exclude != "" {
			section("FILTER", pair{"Name", "grep"}, match(r), pair{"Exclude", logKey + " " + r.exclude})
		}
	}
	if p.metadata != nil {
		lines := []pair{{"Name", "record_modifier"}, {"Match", "*"}}
		for _, m := range p.metadata {
			lines = append(lines, pair{"Record", m.name + " " + m.value})
		}
		section("FILTER", lines...)
	}
	if p.external != "" {
		sections = append(sections, "@INCLUDE "+p.external+"\n")
	}
	section("OUTPUT", pair{"Name", "null"}, pair{"Match", healthTag})
	for i := range p.routes {
		if r := &p.routes[i]; r.plugin != "" {
			section("OUTPUT", append([]pair{{"Name", r.plugin}, match(r)}, r.options...)...)
		}
	}
	return strings.Join(sections, "\n")
}

// writeFluentd writes the configuration of Fluentd.
func writeFluentd(p *plan) string {
	var sections []string
	section := func(name, match, kind string, lines ...string) {
		text := "<" + strings.TrimSpace(name+" "+match) + ">\n    @type " + kind + "\n"
		for _, l := range lines {
			text += "    " + l + "\n"
		}
		sections = append(sections, text+"</"+name+">\n")
	}
	section("source", "", "unix", "path "+socketPath)
	if p.listen != "" {
		section("source", "", "forward", "bind "+p.listen, "port "+routerPort)
	}
	match := func(r *route) string { return r.container + "-firelens**" }
	grep := func(r *route, part, pattern string) {
		if pattern != "" {
			section("filter", match(r), "grep", "<"+part+">", "    key "+logKey, "    pattern "+pattern, "</"+part+">")
		}
	}
	for i := range p.routes {
		grep(&p.routes[i], "regexp", p.routes[i].include)
	}
	for i := range p.routes {
		grep(&p.routes[i], "exclude", p.routes[i].exclude)
	}
	if p.metadata != nil {
		lines := []string{"<record>"}
		for _, m := range p.metadata {
			lines = append(lines, "    "+m.name+" "+m.value)
		}
		section("filter", "**", "record_transformer", append(lines, "</record>")...)
	}
	if p.external != "" {
		sections = append(sections, "@include "+p.external+"\n")
	}
	for i := range p.routes {
		r := &p.routes[i]
		if r.plugin == "" {
			continue
		}
		var lines []string
		for _, o := range r.options {
			lines = append(lines, o.name+" "+o.value)
		}
		section("match", match(r), r.plugin, lines...)
	}
	return strings.Join(sections, "\n")
}
