package app

import (
	"context"
	"os"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/gpu"
)

// findGPUs learns of the host's GPUs, where they are offered. A host without a
// description of them has none; one that cannot be read ends the agent
// (docs/spec/03 section 5.8).
func (a *agent) findGPUs() (err error) {
	if !a.cfg.GPUSupport {
		return nil
	}
	a.gpus, err = a.lookForGPUs()
	if gpu.Missing(err) {
		a.log.Error("GPUs are offered, and none is known; they are looked for", zap.Error(err))
		return nil
	}
	return err
}

// lookForGPUs reads the description that host preparation made, or where there is none
// what the driver says. An error of kind fs.ErrNotExist means that there are none.
func (a *agent) lookForGPUs() (gpu.Info, error) {
	info, err := gpu.Read(a.cfg.GPUInfoFile)
	if !gpu.Missing(err) {
		return info, err
	}
	if read, driverErr := gpu.OfDriver(os.DirFS("/")); driverErr == nil {
		return read, nil
	}
	return gpu.Info{}, err
}

// gpuPeriod is how often GPUs are looked for while there are none (docs/spec/03 section
// 5.8).
const gpuPeriod = 3 * time.Second

// awaitGPUs looks for GPUs whose driver is loaded, or that are described, after the start.
// What went wrong is told once.
func (a *agent) awaitGPUs(ctx context.Context) error {
	ticker := time.NewTicker(gpuPeriod)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		info, err := a.lookForGPUs()
		if err != nil && !gpu.Missing(err) && err.Error() != told {
			told = err.Error()
			a.log.Warn("GPUs not known", zap.Error(err))
		}
		if err != nil || len(info.GPUIDs) == 0 {
			continue
		}
		select {
		case a.gpusCame <- info:
			<-ctx.Done()
		case <-ctx.Done():
		}
		return nil
	}
}

// offerGPUs lets tasks have GPUs that came, and ECS know of them.
func (a *agent) offerGPUs(ctx context.Context, info gpu.Info) {
	a.log.Info("GPUs came: registering again", zap.Strings("gpus", info.GPUIDs), zap.String("driver", info.DriverVersion))
	a.engine.AddGPUs(info.GPUIDs)
	a.gpus = info
	attributes, err := a.attributes(ctx)
	if err == nil {
		err = a.presentAgain(ctx, attributes)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Error("ECS does not know of the GPUs: restart the agent to register anew", zap.Error(err))
	}
}
