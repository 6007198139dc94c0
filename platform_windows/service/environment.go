package service

import "strings"

// settings are how the names of variables begin that the agent reads, its SDK's and those of
// Docker's client among them. The rest of an environment is Windows' own.
var settings = []string{"ECS_", "AWS_", "DOCKER_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

// stale is which settings of the machine a service does not have, or has otherwise: the
// service control manager may give services the environment of the host's start, and user
// data sets variables afterwards. own are the variables of the service alone, which win.
func stale(process func(name string) (string, bool), machine, own []Variable) (missing []Variable) {
	for _, v := range machine {
		if !isSetting(v.Name) || has(own, v.Name) {
			continue
		}
		if value, ok := process(v.Name); !ok || value != v.Value {
			missing = append(missing, v)
		}
	}
	return missing
}

func isSetting(name string) bool {
	for _, begin := range settings {
		if len(name) >= len(begin) && strings.EqualFold(name[:len(begin)], begin) {
			return true
		}
	}
	return false
}

func has(list []Variable, name string) bool {
	for _, v := range list {
		if strings.EqualFold(v.Name, name) {
			return true
		}
	}
	return false
}

// variables reads "NAME=VALUE" lines.
func variables(lines []string) (list []Variable) {
	for _, line := range lines {
		if name, value, ok := strings.Cut(line, "="); ok && name != "" {
			list = append(list, Variable{name, value})
		}
	}
	return list
}
