package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"ecsagent/agent/task"
)

// Driver is how Docker makes the cgroups of containers, as its info call says.
type Driver string

// Drivers that can hold a task's containers together.
const (
	Cgroupfs Driver = "cgroupfs"
	Systemd  Driver = "systemd"
)

const (
	rootName   = "ecs"      // the parent of all tasks' cgroups
	slicePart  = "ecstasks" // not "ecs": ecs.slice would stand beside ecs.service
	sliceEnd   = ".slice"
	rootSlice  = slicePart + sliceEnd
	maxID      = 128
	dashInUnit = `\x2d` // a dash in the name of a slice means a level of the tree
)

// Layout is what decides how tasks' cgroups look on this host.
type Layout struct {
	Version int // of the kernel's interface, 1 or 2; 2 only where it is the sole one
	Driver  Driver
}

// Detect finds the layout: the version from the file system mounted at root
// (ECS_CGROUP_PATH), the driver from the word that Docker's info call gives.
func Detect(root, driver string) (Layout, error) {
	return detect(osFiles{}, root, driver)
}

func detect(f files, root, driver string) (Layout, error) {
	l := Layout{Driver: Driver(driver)}
	if l.Driver != Cgroupfs && l.Driver != Systemd {
		return Layout{}, fmt.Errorf("docker's cgroup driver %q cannot bound tasks: need cgroupfs or systemd", driver)
	}
	_, err := f.Read(path.Join(root, "cgroup.controllers"))
	switch {
	case err == nil:
		l.Version = 2
		return l, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Layout{}, fmt.Errorf("find the cgroup version: %w", err)
	}
	hs, err := hierarchies(f, root)
	if err != nil {
		return Layout{}, fmt.Errorf("find the cgroup version: %w", err)
	}
	if len(hs) == 0 {
		return Layout{}, fmt.Errorf("no cgroup file system at %q", root)
	}
	l.Version = 1
	return l, nil
}

// Parent is HostConfig.CgroupParent of the task's containers. It is empty when the
// task's id cannot be a name in the tree; such a task gets no cgroup either.
func Parent(spec *task.Spec, l Layout) string {
	id := spec.ID()
	if checkID(id) != nil {
		return ""
	}
	if l.Driver == Systemd {
		return sliceName(id)
	}
	return "/" + path.Join(rootName, id)
}

// dir is the path of a task's cgroup below the mount point of a hierarchy, and root
// that of the cgroup above it.
func (l Layout) dir(id string) string {
	if l.Driver == Systemd {
		return path.Join(rootSlice, sliceName(id))
	}
	return path.Join(rootName, id)
}

func (l Layout) root() string {
	if l.Driver == Systemd {
		return rootSlice
	}
	return rootName
}

// taskID is the inverse of dir's last element; false for names that are not ours.
func (l Layout) taskID(name string) (string, bool) {
	id := name
	if l.Driver == Systemd {
		inner, ours := strings.CutPrefix(name, slicePart+"-")
		inner, slice := strings.CutSuffix(inner, sliceEnd)
		if !ours || !slice || strings.Contains(inner, "-") {
			return "", false
		}
		id = strings.ReplaceAll(inner, dashInUnit, "-")
	}
	return id, checkID(id) == nil
}

func sliceName(id string) string {
	return slicePart + "-" + strings.ReplaceAll(id, "-", dashInUnit) + sliceEnd
}

// checkID refuses ids that could lead out of the tree or mean something to systemd.
// ECS's own are hexadecimal digits, with dashes in the old form.
func checkID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("task id %.150q cannot name a cgroup: want 1 to %d characters", id, maxID)
	}
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' {
			return fmt.Errorf("task id %q cannot name a cgroup: want letters, digits, - and _", id)
		}
	}
	return nil
}
