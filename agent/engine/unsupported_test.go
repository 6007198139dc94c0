package engine

import (
	"strings"
	"testing"

	"ecsagent/agent/task"
)

// TestElasticInferenceIsRefused: a task with an accelerator that AWS no longer has would run
// without it.
func TestElasticInferenceIsRefused(t *testing.T) {
	spec := specOf("one", "app")
	spec.Associations = []task.Association{{Name: "device_1", Type: "elastic-inference", Containers: []string{"app"}}}
	if _, reason := Acceptance(task.Intake{}, nil, nil, spec); !strings.Contains(reason, "Elastic Inference is not supported by this agent: AWS has ended it") {
		t.Errorf("reason %q", reason)
	}
	spec.Associations[0].Type = "something-new"
	if _, reason := Acceptance(task.Intake{}, nil, nil, spec); reason != "" {
		t.Errorf("reason %q for an association that changes nothing", reason)
	}
}
