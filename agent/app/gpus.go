package app

import (
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
	a.gpus, err = gpu.Read(a.cfg.GPUInfoFile)
	if gpu.Missing(err) {
		a.log.Error("GPUs are offered, and none is known", zap.Error(err))
		return nil
	}
	return err
}
