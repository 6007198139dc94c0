package docker

import (
	"context"
	"io"
)

// maxStatsBytes bounds one answer about usage.
const maxStatsBytes = 1 << 20

// Stats asks what a container uses, once: no stream is opened. The answer is Docker's
// stats object in JSON.
func (c *Client) Stats(ctx context.Context, id string) ([]byte, error) {
	op := operation{name: "CannotGetStatsError", label: "reading stats", limit: c.limits.Stats}
	return call(ctx, op, func(ctx context.Context) ([]byte, error) {
		answer, err := c.api().ContainerStatsOneShot(ctx, id)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		return io.ReadAll(io.LimitReader(answer.Body, maxStatsBytes))
	})
}
