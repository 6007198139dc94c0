package app

import (
	"context"
	"time"

	"ecsagent/agent/stats"
	"ecsagent/agent/stats/remote"
)

// statsEvery is not used: Docker is asked, every ECS_POLLING_METRICS_WAIT_DURATION.
const statsEvery = 10 * time.Second

// statsSource asks Docker what containers use.
func (a *agent) statsSource() stats.Source {
	return remote.New(func(ctx context.Context, id string) ([]byte, error) { return a.docker.Stats(ctx, id) })
}
