// Package cgroup gives each task on Linux a control group of its own, which bounds
// the CPU, memory and processes of all its containers together (docs/spec/02
// sections 4.10 and 7.8).
//
// Docker puts a task's containers below the task's cgroup because it is told so in
// HostConfig.CgroupParent. What that has to be depends on Docker's cgroup driver,
// and how the cgroup comes into being depends on the version of the kernel's cgroup
// interface too:
//
//	driver    version  CgroupParent          made by
//	cgroupfs  1        /ecs/ID               a directory in each hierarchy that limits need
//	cgroupfs  2        /ecs/ID               a directory
//	systemd   1, 2     ecstasks-ID.slice     systemd, asked over D-Bus
//
// systemd owns the tree when Docker uses its driver, so slices are made and removed
// by it alone; the file system is only read there.
//
// Nothing here ends a process: a cgroup in which something still runs is not
// removed.
package cgroup
