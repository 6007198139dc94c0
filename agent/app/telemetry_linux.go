package app

import (
	"time"

	"ecsagent/agent/stats"
	"ecsagent/agent/stats/kernel"
	linux "ecsagent/platform_linux"
)

// statsEvery is the time between two readings of a container (docs/spec/04 section
// 8.3).
const statsEvery = time.Second

// statsSource reads from the kernel what containers use.
func (a *agent) statsSource() stats.Source {
	return kernel.New(kernel.Options{
		Cgroup: a.cfg.CgroupPath, Proc: "/proc", Version: a.host.CgroupVersion, Memory: linux.MemoryBytes(),
		Open: linux.OpenCounter, Devices: linux.Devices,
	})
}
