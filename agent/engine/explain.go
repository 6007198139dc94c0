package engine

import (
	"time"

	"ecsagent/agent/task"
)

// Acceptance is what the engine makes of a task that it does not know: the
// normalised task, or the reason with which it is rejected.
// network says what of a task's own network cannot be; nil: nothing of mode awsvpc can.
func Acceptance(in task.Intake, hooks []Hook, network func(*task.Spec) error, spec *task.Spec) (*task.Spec, string) {
	if what := refusal(spec, network); what != "" {
		return nil, task.Unrunnable(spec.ARN, what)
	}
	accepted, reason := in.Accept(spec)
	if reason == "" {
		if what := unsupported(accepted, hooks); what != "" {
			reason = task.Unrunnable(spec.ARN, what)
		} else if err := NeedsOf(hooks, accepted); err != nil {
			reason = task.Unrunnable(spec.ARN, err.Error())
		}
	}
	if reason != "" {
		return nil, reason
	}
	return accepted, ""
}

// StopTimeout is the time between SIGTERM and SIGKILL for a container with its own
// time-out, 0 for none; fallback is that of the settings.
func StopTimeout(own, fallback time.Duration) time.Duration { return stopTimeout(own, fallback) }
