package explain

import (
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/task"
)

// What is done for a volume.
const (
	doCreate  = "create"
	doEnsure  = "create unless it exists"
	doRequire = "must exist"
	doMount   = "mounted as it is"
)

// Volume is what is done for one volume of the task (docs/spec/02 section 4.9).
type Volume struct {
	Name   string            `json:"name"`
	Do     string            `json:"do"`
	Docker string            `json:"dockerName,omitempty"`
	Path   string            `json:"path,omitempty"` // of the host
	Driver string            `json:"driver,omitempty"`
	Opts   map[string]string `json:"driverOpts,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Reason is why it cannot be made, as ECS shows it; the task stops for it.
	Reason string `json:"reason,omitempty"`
	// Removed says that it goes with the task.
	Removed bool `json:"removedWithTask"`
}

// space stands for the network of a task in which a volume is mounted.
func (e *explainer) space(volume int) string {
	if !task.VolumeNeedsNetwork(e.spec, volume) {
		return ""
	}
	return "/proc/<pid>/ns/net"
}

func (e *explainer) volumes() []Volume {
	list := make([]Volume, 0, len(e.spec.Volumes))
	for i := range e.spec.Volumes {
		v := &e.spec.Volumes[i]
		out := Volume{Name: v.Name, Docker: e.st.Volumes[i].DockerName, Do: doMount}
		request, err := dockerspec.Volume(e.spec, i, e.st, e.space(i), e.s.Env)
		if err != nil {
			out.Reason = task.ResourceReason(err.Error())
		}
		d := v.Docker
		switch {
		case d != nil && d.Scope == task.VolumeShared && d.Autoprovision:
			out.Do = doEnsure
		case d != nil && d.Scope == task.VolumeShared:
			out.Do = doRequire
		case task.NeedsVolume(e.spec, i):
			out.Do, out.Removed = doCreate, true
		}
		switch {
		case out.Reason != "", out.Do == doRequire:
		case out.Do == doCreate, out.Do == doEnsure:
			out.Driver, out.Opts, out.Labels = request.Driver, request.DriverOpts, request.Labels
		case v.Host != nil:
			out.Path = v.Host.SourcePath
		}
		list = append(list, out)
	}
	return list
}
