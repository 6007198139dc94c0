package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ecsagent/agent/stats"
)

// parseHost reads /proc/stat: the time of all processors, and how many there are.
func parseHost(text []byte) (stats.Host, error) {
	var h stats.Host
	err := eachLine(text, func(line []byte) error {
		word, rest := next(line)
		switch {
		case string(word) == "cpu":
			for i := range 7 { // user, nice, system, idle, iowait, irq, softirq
				var digits []byte
				digits, rest = next(rest)
				n, err := parseNumber(digits)
				if err != nil {
					return fmt.Errorf("/proc/stat, field %d of cpu: %w", i+1, err)
				}
				h.CPUTime += n * tick
			}
		case bytes.HasPrefix(word, []byte("cpu")):
			h.CPUs++
		}
		return nil
	})
	if err == nil && h.CPUs == 0 {
		err = errors.New("/proc/stat names no processor")
	}
	return h, err
}

// isEthernet selects the interfaces that Docker gives a container: not loopback, and
// not the tunnels that the kernel puts into every network namespace.
func isEthernet(name []byte) bool { return bytes.HasPrefix(name, []byte("eth")) }

// parseNetwork reads /proc/PID/net/dev. It is nil when no interface is wanted.
func parseNetwork(text []byte, wanted func(name []byte) bool) (map[string]stats.Network, error) {
	var all map[string]stats.Network
	err := eachLine(text, func(line []byte) error {
		name, rest, ok := bytes.Cut(line, []byte{':'})
		if name = bytes.TrimSpace(name); !ok || !wanted(name) {
			return nil // a headline, or another interface
		}
		var fields [16]uint64
		for i := range fields {
			var word []byte
			word, rest = next(rest)
			var err error
			if fields[i], err = parseNumber(word); err != nil {
				return fmt.Errorf("counters of interface %.20q: %w", name, err)
			}
		}
		if all == nil {
			all = make(map[string]stats.Network, 1)
		}
		all[string(name)] = stats.Network{
			RxBytes: fields[0], RxPackets: fields[1], RxErrors: fields[2], RxDropped: fields[3],
			TxBytes: fields[8], TxPackets: fields[9], TxErrors: fields[10], TxDropped: fields[11],
		}
		return nil
	})
	return all, err
}

// openNetwork opens the network counters that a process of the cgroup sees; nil when
// there is none, or when it is in the host's network.
func (s *Source) openNetwork(dir string) File {
	pid, err := s.process(dir)
	if err != nil {
		return nil
	}
	own, err := os.Readlink(filepath.Join(s.opt.Proc, "self", "ns", "net"))
	if theirs, terr := os.Readlink(s.pidPath(pid, "ns", "net")); err == nil && terr == nil && own == theirs {
		return nil
	}
	f, err := s.opt.Open(s.pidPath(pid, "net", "dev"))
	if err != nil {
		return nil
	}
	return f
}

func (s *Source) pidPath(pid int, names ...string) string {
	return filepath.Join(append([]string{s.opt.Proc, strconv.Itoa(pid)}, names...)...)
}

// maxProcesses is how many of a container's processes are looked at: the first one is
// nearly always the right one.
const maxProcesses = 16

// process finds a process of a cgroup: the first of its process namespace, or failing
// that the oldest.
func (s *Source) process(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return 0, fmt.Errorf("find a process of the container: %w", err)
	}
	var first, seen int
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			continue // 0: a process of another namespace
		}
		if first == 0 {
			first = pid
		}
		if s.leads(pid) {
			return pid, nil
		}
		if seen++; seen == maxProcesses {
			break
		}
	}
	if first == 0 {
		return 0, fmt.Errorf("find a process of the container: none in %q", dir)
	}
	return first, nil
}

// leads reports whether the process is number 1 where it lives.
func (s *Source) leads(pid int) bool {
	text, err := os.ReadFile(s.pidPath(pid, "status"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	numbers := strings.Fields(line)
	return len(numbers) > 1 && numbers[len(numbers)-1] == "1"
}

// TaskNetwork implements stats.Source. Nothing is held open: the namespace of a task
// has to be free to go, and its interfaces with it.
func (s *Source) TaskNetwork(_ context.Context, t stats.Target) (map[string]stats.Network, error) {
	if s.opt.Devices == nil || !validID(t.ID) {
		return nil, nil
	}
	tree, err := s.tree()
	if err != nil {
		return nil, err
	}
	dir, err := s.locate(tree.probe(), t)
	if err != nil {
		return nil, err
	}
	pid, err := s.process(filepath.Join(tree.probe(), dir))
	if err != nil {
		return nil, err
	}
	devices, err := s.devicesOf(t.ID, pid)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(s.pidPath(pid, "net", "dev"))
	if err != nil {
		return nil, fmt.Errorf("read network counters of the task: %w", err)
	}
	return parseNetwork(text, func(name []byte) bool { return slices.Contains(devices, string(name)) })
}

// devicesOf lists a task's interfaces once: they do not change while it runs.
func (s *Source) devicesOf(id string, pid int) ([]string, error) {
	key := id + "/" + strconv.Itoa(pid)
	if devices, ok := s.devices[key]; ok {
		return devices, nil
	}
	devices, err := s.opt.Devices(pid)
	if err != nil {
		return nil, fmt.Errorf("list the task's interfaces: %w", err)
	}
	if len(devices) > 0 {
		if len(s.devices) > 1000 {
			clear(s.devices)
		}
		s.devices[key] = devices
	}
	return devices, nil
}
