package ebs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// usageLimit bounds the question how full one volume is (docs/spec/04 section 8.7).
const usageLimit = time.Second

// Gauge tells how full volumes are; *Client does.
type Gauge interface {
	Usage(ctx context.Context, name string) (used, size uint64, err error)
}

// Usage tells how full the EBS volumes of a task are. One that does not answer is left out, and
// in the error.
func Usage(ctx context.Context, g Gauge, s *task.Snapshot) (list []stats.VolumeUsage, err error) {
	for i := range s.Volumes {
		v := &s.Volumes[i]
		if v.Type != task.VolumeEBS {
			continue
		}
		of := volumeOf(v.Properties)
		used, size, failed := usage(ctx, g, of.Name)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("usage of EBS volume %s: %w", of.VolumeID, failed))
			continue
		}
		list = append(list, stats.VolumeUsage{ID: of.VolumeID, Name: v.Name, Used: used, Size: size})
	}
	return list, err
}

func usage(ctx context.Context, g Gauge, name string) (used, size uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, usageLimit)
	defer cancel()
	return g.Usage(ctx, name)
}
