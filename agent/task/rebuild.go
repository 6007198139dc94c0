package task

import (
	"slices"
	"strings"
	"time"
)

// Labels is what the labels of a container say of its task.
type Labels struct {
	TaskARN, Container, Family, Version string
}

// Relic is a container of a task whose record was lost.
type Relic struct {
	Labels Labels
	Sight  Sight
}

// Rebuild makes a task of its containers, as far as the runtime remembers it: names,
// images, ports, statuses, exit codes, volumes. Dependencies, restart policies and
// limits are lost. A container that still runs is essential; one that has exited while
// others run was not, because the task went on; when none runs, all were. relics must
// hold at least one, all of one task.
func Rebuild(relics []Relic, now time.Time) (*Spec, State) {
	relics = newestOfEach(relics)
	first := relics[0].Labels
	spec := &Spec{ARN: first.TaskARN, Family: first.Family, Version: first.Version}
	ended := !slices.ContainsFunc(relics, func(r Relic) bool { return r.Sight.Status != ContainerStopped })
	var volumes []VolumeState
	for _, r := range relics {
		c := Container{
			Name: r.Labels.Container, Image: r.Sight.ImageID, Type: TypeOf(r.Labels.Container),
			Essential: ended || r.Sight.Status != ContainerStopped,
		}
		for _, b := range r.Sight.Bindings {
			p := PortMapping{ContainerPort: b.ContainerPort, HostPort: b.HostPort, Protocol: b.Protocol}
			if !slices.Contains(c.Ports, p) { // once for IPv4, once for IPv6
				c.Ports = append(c.Ports, p)
			}
		}
		spec.Containers = append(spec.Containers, c)
		for _, m := range r.Sight.Mounts {
			own := strings.HasPrefix(m.Name, "ecs-"+spec.Family+"-"+spec.Version+"-")
			known := slices.ContainsFunc(volumes, func(v VolumeState) bool { return v.DockerName == m.Name })
			if own && !known {
				spec.Volumes = append(spec.Volumes, Volume{Name: m.Name, Type: VolumeDocker, Docker: &DockerVolume{Scope: "task"}})
				volumes = append(volumes, VolumeState{DockerName: m.Name, Created: true})
			}
		}
	}
	HoldByPause(spec)
	st := NewState(spec, Running, now)
	st.Volumes = volumes
	for i := range relics {
		s := relics[i].Sight
		st.Containers[i].DockerName, st.Containers[i].CreateTried = s.Name, true
		if spec.Containers[i].Type == CNIPause && s.Status == ContainerRunning {
			// The others were created because their network was there; nobody knows how
			// to make it again.
			st.Containers[i].Known = ContainerResourcesProvisioned
		}
		Apply(spec, &st, Seen{Container: i, Sight: s, Startup: true}, now, Rules{})
	}
	return spec, st
}

// newestOfEach keeps one container of each name, in the order of their creation: the
// one that runs, or the newest.
func newestOfEach(relics []Relic) []Relic {
	relics = slices.Clone(relics)
	slices.SortStableFunc(relics, func(a, b Relic) int { return a.Sight.CreatedAt.Compare(b.Sight.CreatedAt) })
	var kept []Relic
	for _, r := range relics {
		i := slices.IndexFunc(kept, func(k Relic) bool { return k.Labels.Container == r.Labels.Container })
		switch {
		case i < 0:
			kept = append(kept, r)
		case kept[i].Sight.Status != ContainerRunning:
			kept[i] = r
		}
	}
	return kept
}

// TypeOf knows the containers that the agent adds by their names (docs/spec/02
// section 4.11).
func TypeOf(name string) ContainerType {
	const pause = "~internal~ecs~pause"
	switch {
	case name == pause+"~namespace":
		return NamespacePause
	case name == pause, strings.HasPrefix(name, pause+"-"):
		return CNIPause
	}
	return Normal
}
