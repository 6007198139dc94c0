package task

import "fmt"

// PullBehavior is the agent's ECS_IMAGE_PULL_BEHAVIOR (docs/spec/02 section 5.1).
type PullBehavior uint8

// Pull behaviours.
const (
	PullDefault PullBehavior = iota
	PullAlways
	PullOnce
	PullPreferCached
)

var pullNames = map[PullBehavior]string{
	PullDefault: "default", PullAlways: "always", PullOnce: "once", PullPreferCached: "prefer-cached",
}

// String returns the word of the setting.
func (p PullBehavior) String() string { return nameOf(pullNames, p) }

// ParsePullBehavior reads the setting; empty is PullDefault.
func ParsePullBehavior(s string) (PullBehavior, error) {
	if s == "" {
		return PullDefault, nil
	}
	for p, n := range pullNames {
		if n == s {
			return p, nil
		}
	}
	return PullDefault, fmt.Errorf("unrecognized image pull behavior %q", s)
}

// strict reports whether a failed pull stops the task.
func (p PullBehavior) strict() bool { return p == PullAlways || p == PullOnce }

// Rules is what decisions depend on besides the task itself.
type Rules struct {
	Pull        PullBehavior
	PullUpfront bool // images are pulled before dependencies are met

	// Admitted says that the host's resources are granted to the task.
	Admitted bool
	// NoExecutionCredentials says that the credentials of the task's execution role
	// have not arrived.
	NoExecutionCredentials bool
}
