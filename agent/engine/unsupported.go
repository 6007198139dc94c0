package engine

import (
	"slices"

	"ecsagent/agent/task"
)

// needs is everything a task may ask for that this agent cannot give yet. A task
// that needs one of them is stopped with the reason instead of being run wrongly.
var needs = []struct {
	text  string
	found func(*task.Spec) bool
}{
	{"FSx for Windows File Server volumes are not supported by this agent", anyVolume(task.VolumeFSx)},
	{"Elastic Inference is not supported by this agent: AWS has ended it", func(s *task.Spec) bool {
		return slices.ContainsFunc(s.Associations, func(a task.Association) bool { return a.Type == "elastic-inference" })
	}},
	{"credential specs are not supported by this agent", anyContainer(func(c *task.Container) bool { return len(c.CredentialSpecs) > 0 })},
}

// givenBy is the kind of the hook that gives what is needed, where this agent has one: only
// on some hosts, or as its settings say.
var givenBy = map[string]string{
	"FSx for Windows File Server volumes are not supported by this agent": "fsxwindowsfileserver",
	"credential specs are not supported by this agent":                    "credentialspec",
}

// unsupported names what the task needs and cannot have; empty when it can run.
func unsupported(s *task.Spec, hooks []Hook) string {
	for _, n := range needs {
		if n.found(s) && (givenBy[n.text] == "" || hookOf(hooks, givenBy[n.text]) == nil) {
			return n.text
		}
	}
	return ""
}

func anyContainer(is func(*task.Container) bool) func(*task.Spec) bool {
	return func(s *task.Spec) bool {
		for i := range s.Containers {
			if is(&s.Containers[i]) {
				return true
			}
		}
		return false
	}
}

func anyVolume(kind string) func(*task.Spec) bool {
	return func(s *task.Spec) bool {
		for i := range s.Volumes {
			if s.Volumes[i].Type == kind {
				return true
			}
		}
		return false
	}
}
