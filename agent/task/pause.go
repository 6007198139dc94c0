package task

import (
	"errors"
	"maps"
	"slices"
)

// NamespacePauseName is the container that holds the PID and IPC namespaces of a task
// (docs/spec/02 section 4.11).
const NamespacePauseName = "~internal~ecs~pause~namespace"

// NetworkPauseName is the container that holds the network of an awsvpc task
// (docs/spec/05 section 3.1).
const NetworkPauseName = "~internal~ecs~pause"

// addNetworkPause adds the container whose network namespace the others join. They are
// created once the network is set up in it, and it stops after them.
func (in Intake) addNetworkPause(s *Spec) error {
	if s.NetworkMode != "awsvpc" || s.Index(NetworkPauseName) >= 0 {
		return nil
	}
	if in.Pause.Image == "" {
		return errors.New("network mode awsvpc needs the pause image, which is not loaded on this container instance")
	}
	in.hold(s, Container{Name: NetworkPauseName, Type: CNIPause, Image: in.Pause.Image})
	return nil
}

// addPause adds the container whose PID and IPC namespaces the others join
// (docs/spec/02 section 4.7). They need it before they are created, and it stops after
// them; its end is the task's.
func (in Intake) addPause(s *Spec) error {
	if s.PIDMode != "task" && s.IPCMode != "task" || s.Index(NamespacePauseName) >= 0 {
		return nil
	}
	if in.Pause.Image == "" {
		return errors.New("pidMode task and ipcMode task need the pause image, which is not loaded on this container instance")
	}
	in.hold(s, Container{Name: NamespacePauseName, Type: NamespacePause, Image: in.Pause.Image})
	return nil
}

// HoldByPause makes the containers of a task whose record was lost stop before its pause
// containers, whose end is the task's. Pause containers that are there know no other way.
func HoldByPause(s *Spec) {
	for p := range s.Containers {
		pause := &s.Containers[p]
		if !pause.Internal() {
			continue
		}
		pause.Essential = true
		for i := range s.Containers {
			if c := &s.Containers[i]; !c.Internal() {
				c.DependsOn = addEdge(c.DependsOn, pause.Name, DependsStart)
			}
		}
	}
}

// hold adds a pause container, without which no container of the task definition is
// created. Its steady status tells when it is ready.
func (in Intake) hold(s *Spec, pause Container) {
	pause.Essential, pause.Labels = true, maps.Clone(in.Pause.Labels)
	for i := range s.Containers {
		if c := &s.Containers[i]; !c.Internal() {
			c.DependsOn = addEdge(slices.Clone(c.DependsOn), pause.Name, DependsStart)
		}
	}
	s.Containers = append(s.Containers, pause)
}
