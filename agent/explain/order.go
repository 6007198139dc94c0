package explain

import (
	"cmp"
	"encoding/json"
	"slices"

	"ecsagent/agent/engine"
	"ecsagent/agent/task"
)

// startStages numbers the containers from 1 so that each has a higher number than
// all it depends on. An accepted task has no cycles.
func startStages(spec *task.Spec) []int {
	return stages(len(spec.Containers), func(i int) []int {
		var before []int
		for _, d := range spec.Containers[i].DependsOn {
			if j := spec.Index(d.Container); j >= 0 {
				before = append(before, j)
			}
		}
		return before
	})
}

// stages is the length of the longest way to each node, itself included.
func stages(n int, before func(int) []int) []int {
	stage := make([]int, n)
	for range n {
		for i := range n {
			stage[i] = max(stage[i], 1)
			for _, j := range before(i) {
				stage[i] = max(stage[i], stage[j]+1)
			}
		}
	}
	return stage
}

// inOrder lists the nodes by stage; those of one stage stay as they are.
func inOrder(stage []int) []int {
	order := make([]int, len(stage))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(stage[a], stage[b]) })
	return order
}

// waits are the conditions of a container's dependencies, its volumes and its resources
// (docs/spec/02 sections 3.2, 4.9 and 7.1).
func (e *explainer) waits(i int) []Wait {
	c := &e.spec.Containers[i]
	var list []Wait
	for _, d := range c.DependsOn {
		w := Wait{Container: d.Container, Condition: d.Condition}
		switch d.Condition {
		case task.DependsSuccess, task.DependsComplete, task.DependsHealthy:
			if j := e.spec.Index(d.Container); j >= 0 {
				w.Within = e.spec.Containers[j].StartTimeout.Seconds()
			}
		}
		list = append(list, w)
	}
	for _, m := range c.MountPoints {
		for v := range e.spec.Volumes {
			w := Wait{Volume: m.SourceVolume}
			if e.spec.Volumes[v].Name == m.SourceVolume && task.NeedsVolume(e.spec, v) && !slices.Contains(list, w) {
				list = append(list, w)
			}
		}
	}
	for r := range e.spec.Resources {
		if resource := &e.spec.Resources[r]; resource.For(c.Name) {
			list = append(list, Wait{Resource: resource.Text})
		}
	}
	return list
}

// stopOrder lists the stops: a container stops after all that depend on it
// (docs/spec/02 sections 2.8 and 3.5).
func (e *explainer) stopOrder() []Stop {
	n := len(e.spec.Containers)
	dependents := make([][]int, n)
	for i := range e.spec.Containers {
		for _, d := range e.spec.Containers[i].DependsOn {
			if j := e.spec.Index(d.Container); j >= 0 && !slices.Contains(dependents[j], i) {
				dependents[j] = append(dependents[j], i)
			}
		}
	}
	stage := stages(n, func(i int) []int { return dependents[i] })
	list := make([]Stop, 0, n)
	for _, i := range inOrder(stage) {
		c := &e.spec.Containers[i]
		s := Stop{Container: c.Name, Stage: stage[i], Signal: stopSignal(c)}
		s.Timeout = engine.StopTimeout(c.StopTimeout, e.s.StopTimeout).Seconds()
		for _, j := range dependents[i] {
			s.After = append(s.After, e.spec.Containers[j].Name)
		}
		list = append(list, s)
	}
	return list
}

// stopSignal is the signal that ECS's own document names; empty is the image's.
func stopSignal(c *task.Container) string {
	var config struct{ StopSignal string }
	if c.DockerConfig == "" || json.Unmarshal([]byte(c.DockerConfig), &config) != nil {
		return ""
	}
	return config.StopSignal
}
