package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrNotFound is the absence of a link.
var ErrNotFound = errors.New("no such network interface")

// ErrGone is the absence of a namespace.
var ErrGone = errors.New("the network namespace is gone")

// Space is the network of one namespace. It is not safe for concurrent use.
type Space struct {
	*netlink.Handle
	ns netns.NsHandle
}

// Host opens the namespace that the process was started in.
func Host() (*Space, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open the plugin's own network namespace: %w", err)
	}
	return newSpace(ns)
}

// Open opens the namespace of a path, or of a name under /var/run/netns. It returns
// ErrGone when there is none, and when what is there is the plugin's own namespace: the
// path then names a process that took over the id of one that ended.
func Open(path string) (*Space, error) {
	if path == "" {
		return nil, ErrGone
	}
	if !strings.Contains(path, "/") {
		path = filepath.Join("/var/run/netns", path)
	}
	ns, err := netns.GetFromPath(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("%w: %s", ErrGone, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace %q: %w", path, err)
	}
	if kind, err := unix.IoctlRetInt(int(ns), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		// A path that was a namespace's mount point, and is an empty file again.
		_ = ns.Close()
		return nil, fmt.Errorf("%w: %s is not a network namespace", ErrGone, path)
	}
	runtime.LockOSThread()
	own, err := netns.Get()
	runtime.UnlockOSThread()
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("open the plugin's own network namespace: %w", err)
	}
	defer own.Close()
	if own.Equal(ns) {
		_ = ns.Close()
		return nil, fmt.Errorf("%w: %s is the plugin's own", ErrGone, path)
	}
	return newSpace(ns)
}

func newSpace(ns netns.NsHandle) (*Space, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &Space{Handle: h, ns: ns}, nil
}

// Close lets go of the namespace.
func (s *Space) Close() {
	s.Handle.Close()
	_ = s.ns.Close()
}

// FD is the namespace's file descriptor, owned by s.
func (s *Space) FD() int { return int(s.ns) }

// Pair opens the host's and the task's namespace for a command that needs both.
func Pair(path string) (host, task *Space, err error) {
	task, err = Open(path)
	if errors.Is(err, ErrGone) {
		return nil, nil, types.NewError(types.ErrInvalidNetNS, "CNI_NETNS: "+err.Error(), "")
	}
	if err != nil {
		return nil, nil, err
	}
	host, err = Host()
	if err != nil {
		task.Close()
		return nil, nil, err
	}
	return host, task, nil
}

// IsGone reports whether Pair found no namespace of the task.
func IsGone(err error) bool {
	var e *types.Error
	return errors.Is(err, ErrGone) || errors.As(err, &e) && e.Code == types.ErrInvalidNetNS
}

// Do runs f on a thread of its own that is in the namespace. A thread that cannot come
// back ends with its goroutine.
func (s *Space) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		own, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("open the thread's network namespace: %w", err)
			return
		}
		defer own.Close()
		if err := netns.Set(s.ns); err != nil {
			done <- fmt.Errorf("enter a network namespace: %w", err)
			return
		}
		err = f()
		if netns.Set(own) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Links lists the links. A list that changed while the kernel wrote it is asked for anew.
func (s *Space) Links() ([]netlink.Link, error) {
	return complete("list network interfaces", s.LinkList)
}

// Addresses lists the addresses of a link, of both families.
func (s *Space) Addresses(l netlink.Link) ([]netlink.Addr, error) {
	return complete("list addresses", func() ([]netlink.Addr, error) { return s.AddrList(l, netlink.FAMILY_ALL) })
}

// Routes lists the routes of the main table, of one family; of a link, if given.
func (s *Space) Routes(l netlink.Link, family int) ([]netlink.Route, error) {
	routes, err := complete("list routes", func() ([]netlink.Route, error) { return s.RouteList(l, family) })
	if err != nil && family == netlink.FAMILY_V6 && NoFamily(err) {
		return nil, nil
	}
	return routes, err
}

func complete[T any](what string, list func() ([]T, error)) ([]T, error) {
	const attempts = 100
	var all []T
	var err error
	for range attempts {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return all, nil
}

// NoFamily reports whether err says that the kernel does not know the address family.
func NoFamily(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// ByName finds a link.
func (s *Space) ByName(name string) (netlink.Link, error) {
	l, err := s.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up interface %q: %w", name, err)
	}
	return l, nil
}

// ByIndex finds a link.
func (s *Space) ByIndex(index int) (netlink.Link, error) {
	l, err := s.LinkByIndex(index)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("%w: index %d", ErrNotFound, index)
	}
	if err != nil {
		return nil, fmt.Errorf("look up interface %d: %w", index, err)
	}
	return l, nil
}

// ByMAC finds the link with a MAC address. Devices stacked on it (VLANs, macvlans, a
// bond's members) may share the address and do not count.
func (s *Space) ByMAC(mac net.HardwareAddr) (netlink.Link, error) {
	all, err := s.Links()
	if err != nil {
		return nil, err
	}
	return selectMAC(all, mac)
}

func selectMAC(all []netlink.Link, mac net.HardwareAddr) (netlink.Link, error) {
	var same []netlink.Link
	indexes := map[int]bool{}
	for _, l := range all {
		// A bridge takes over the address of a port.
		if string(l.Attrs().HardwareAddr) == string(mac) && l.Type() != "bridge" {
			same = append(same, l)
			indexes[l.Attrs().Index] = true
		}
	}
	var base []netlink.Link
	for _, l := range same {
		a := l.Attrs()
		// A link-netnsid says that the parent's index is one of another namespace.
		if stacked := a.NetNsID < 0 && a.ParentIndex != 0 && indexes[a.ParentIndex]; stacked || indexes[a.MasterIndex] {
			continue
		}
		base = append(base, l)
	}
	switch len(base) {
	case 0:
		return nil, fmt.Errorf("%w with MAC %s", ErrNotFound, mac)
	case 1:
		return base[0], nil
	}
	names := make([]string, len(base))
	for i, l := range base {
		names[i] = l.Attrs().Name
	}
	return nil, fmt.Errorf("MAC %s is on %d network interfaces, %s: cannot tell which is the task's", mac, len(base), strings.Join(names, " and "))
}
