package eni

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/vishvananda/netlink"

	"ecsagent/cni/kernel"
)

// Take moves a link from the host into the task. The kernel takes it down and drops
// its addresses. Should the task have an interface of the same name, the link goes
// under its host-safe name.
func Take(host, task *kernel.Space, l netlink.Link) error {
	err := host.LinkSetNsFd(l, task.FD())
	if errors.Is(err, fs.ErrExist) {
		if err = hostSafe(host, l); err == nil {
			err = host.LinkSetNsFd(l, task.FD())
		}
	}
	if err != nil {
		return fmt.Errorf("move interface %q into the task's namespace: %w", l.Attrs().Name, err)
	}
	return nil
}

// GiveBack moves a link from the task to the namespace that the plugin was started in,
// down, without addresses and under a name that no other interface has.
func GiveBack(task, host *kernel.Space, l netlink.Link) error {
	if err := hostSafe(task, l); err != nil {
		return err
	}
	base := l.Attrs().Name
	for attempt := 0; ; attempt++ {
		err := task.LinkSetNsFd(l, host.FD())
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrExist) || attempt == 10 {
			return fmt.Errorf("move interface %q back to the host: %w", l.Attrs().Name, err)
		}
		// The host has that name. One more digit still fits.
		name := base + strconv.Itoa(attempt)
		if err := task.LinkSetName(l, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("rename interface %q to %q: %w", l.Attrs().Name, name, err)
		}
		l.Attrs().Name = name
	}
}

func hostSafe(s *kernel.Space, l netlink.Link) error {
	if err := s.LinkSetDown(l); err != nil {
		return fmt.Errorf("set interface %q down: %w", l.Attrs().Name, err)
	}
	name := HostName(l.Attrs().HardwareAddr)
	if l.Attrs().Name == name {
		return nil
	}
	if err := s.LinkSetName(l, name); err != nil {
		return fmt.Errorf("rename interface %q to %q: %w", l.Attrs().Name, name, err)
	}
	l.Attrs().Name = name
	return nil
}
