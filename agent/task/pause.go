package task

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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
	if s.ConnectsBridged() {
		return in.addConnectPauses(s)
	}
	if s.NetworkMode != "awsvpc" || s.Index(NetworkPauseName) >= 0 {
		return nil
	}
	if in.Pause.Image == "" {
		return errors.New("network mode awsvpc needs the pause image, which is not loaded on this container instance")
	}
	pause := Container{Name: NetworkPauseName, Type: CNIPause, Image: cmp.Or(in.Pause.Custom, in.Pause.Image)}
	if s.Proxy != nil && in.Pause.Custom != "" {
		if err := runAsProxy(s, &pause); err != nil {
			return err
		}
	}
	in.hold(s, pause)
	return nil
}

// runAsProxy gives a pause container that may have traffic of its own the user of the
// task's proxy, whose traffic is not redirected (docs/spec/05 section 3.5).
func runAsProxy(s *Spec, pause *Container) error {
	i := s.Index(s.Proxy.ContainerName)
	if i < 0 {
		return fmt.Errorf("proxyConfiguration: containerName is %q: want the name of a container of the task", s.Proxy.ContainerName)
	}
	var config struct{ User string }
	if text := s.Containers[i].DockerConfig; text != "" {
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			return fmt.Errorf("docker config of container %s: %w", s.Proxy.ContainerName, err)
		}
	}
	if config.User == "" {
		return fmt.Errorf("user needs to be specified for proxy container %s, because the pause container has an image of its own (PauseContainerImageName)", s.Proxy.ContainerName)
	}
	text, err := json.Marshal(config)
	pause.DockerConfig = string(text)
	return err
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
	pause = in.kept(pause)
	for i := range s.Containers {
		if c := &s.Containers[i]; !c.Internal() {
			c.DependsOn = addEdge(slices.Clone(c.DependsOn), pause.Name, DependsStart)
		}
	}
	s.Containers = append(s.Containers, pause)
}

// kept is a pause container whose end is the task's, with the labels of the settings.
func (in Intake) kept(pause Container) Container {
	pause.Essential, pause.Labels = true, maps.Clone(in.Pause.Labels)
	return pause
}
