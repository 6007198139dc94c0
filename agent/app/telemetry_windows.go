package app

import (
	"context"
	"time"

	"ecsagent/agent/network/switchnet"
	"ecsagent/agent/stats"
	"ecsagent/agent/stats/remote"
	windows "ecsagent/platform_windows"
)

// statsEvery is not used: Docker is asked, every ECS_POLLING_METRICS_WAIT_DURATION.
const statsEvery = 10 * time.Second

// statsSource asks Docker what containers use, and Windows what goes through the interfaces
// of tasks.
func (a *agent) statsSource() stats.Source {
	return remote.New(remote.Options{
		Ask:     func(ctx context.Context, id string) ([]byte, error) { return a.docker.Stats(ctx, id) },
		Adapter: switchnet.AdapterName, Traffic: windows.Traffic,
	})
}
