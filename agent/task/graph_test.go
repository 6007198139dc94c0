package task

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestResolvableGraphs: a task is accepted exactly when its graph has no circle, no edge
// to nobody, no unknown condition and no health of a container without health checks;
// and every container of an accepted one runs, or has a reason.
func TestResolvableGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "containers")
		spec := &Spec{ARN: "arn:aws:ecs:eu-west-1:1:task/c/t"}
		sound := true
		for i := range n {
			c := Container{Name: fmt.Sprintf("c%d", i), Image: "i:1", Essential: i == 0}
			if rapid.Bool().Draw(t, "checked") {
				c.HealthCheckType = "docker"
			}
			spec.Containers = append(spec.Containers, c)
		}
		for i := range n {
			for range rapid.IntRange(0, 2).Draw(t, "edges") {
				on := rapid.IntRange(0, n).Draw(t, "on") // n is nobody
				condition := rapid.SampledFrom([]Condition{DependsStart, DependsComplete, DependsSuccess, DependsHealthy, DependsStart, "WHENEVER"}).Draw(t, "condition")
				c := &spec.Containers[i]
				c.DependsOn = append(c.DependsOn, Dependency{Container: fmt.Sprintf("c%d", on), Condition: condition})
				sound = sound && on < n && condition != "WHENEVER" && (condition != DependsHealthy || spec.Containers[on].HealthCheckType == "docker")
			}
		}
		sound = sound && !circular(spec)
		accepted, reason := Intake{}.Accept(spec)
		if (reason == "") != sound {
			t.Fatalf("accepted: %v, sound: %v: %+v", reason == "", sound, spec.Containers)
		}
		if !sound {
			if want := "Task dependencies cannot be resolved, taskArn: " + spec.ARN; reason != want {
				t.Fatalf("reason %q, want %q", reason, want)
			}
			return
		}
		w := &world{t: t, spec: accepted, rules: Rules{Admitted: true}, real: make([]realContainer, n), created: make([]int, n)}
		w.now = NewState(accepted, Running, w.now).AcceptedAt
		w.st = NewState(accepted, Running, w.now)
		w.fair()
		for i, r := range w.real {
			if !r.ranOnce && w.st.Containers[i].Error == nil && w.st.Known != Stopped {
				t.Fatalf("container %d never ran, and nobody knows why: %+v", i, w.st)
			}
		}
	})
}

// circular looks for a circle by going along the edges.
func circular(spec *Spec) bool {
	var walk func(i int, path map[int]bool) bool
	walk = func(i int, path map[int]bool) bool {
		if path[i] {
			return true
		}
		path[i] = true
		defer delete(path, i)
		for _, d := range spec.Containers[i].DependsOn {
			if j := spec.Index(d.Container); j >= 0 && walk(j, path) {
				return true
			}
		}
		return false
	}
	for i := range spec.Containers {
		if walk(i, map[int]bool{}) {
			return true
		}
	}
	return false
}
