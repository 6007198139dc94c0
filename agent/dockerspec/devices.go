package dockerspec

import (
	"github.com/docker/docker/api/types/container"
)

// Variables by which a container asks for a device (docs/spec/02 section 4.8).
const (
	gpuVariable        = "NVIDIA_VISIBLE_DEVICES"
	inferentiaVariable = "AWS_NEURON_VISIBLE_DEVICES"
)

// devices chooses the OCI runtime that brings accelerators into the container.
func (b *build) devices() error {
	if b.env.GPU.Enabled && b.taskHasGPUs() {
		switch {
		case b.env.GPU.External:
			b.host.DeviceRequests = append(b.host.DeviceRequests, container.DeviceRequest{
				DeviceIDs: append([]string{}, b.c.GPUs...), Capabilities: [][]string{{"gpu"}},
			})
		case b.wants(gpuVariable):
			if b.env.GPU.Runtime == "" {
				return failure(nameHostConfig, "Runtime is not set for GPU containers")
			}
			b.host.Runtime = b.env.GPU.Runtime
		}
	}
	if b.env.Inferentia && b.wants(inferentiaVariable) {
		b.host.Runtime = "neuron"
	}
	return nil
}

func (b *build) taskHasGPUs() bool {
	for i := range b.spec.Containers {
		if len(b.spec.Containers[i].GPUs) > 0 {
			return true
		}
	}
	return false
}
