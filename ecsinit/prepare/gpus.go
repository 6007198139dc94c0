package prepare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"ecsagent/agent/gpu"
	"ecsagent/ecsinit/gpus"
	"ecsagent/ecsinit/step"
)

// describeGPUs keeps the file about the GPUs as the host is now.
func describeGPUs(wanted bool, file string, finder gpus.Finder) step.Step {
	var found gpu.Info
	return step.Step{
		Name: "GPUs", Optional: true,
		Plan: func(ctx context.Context) ([]string, error) {
			remove := func(why string) []string {
				if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return []string{"remove " + file + ": " + why}
			}
			found = gpu.Info{}
			if !wanted {
				return remove("ECS_ENABLE_GPU_SUPPORT is off"), nil
			}
			info, err := finder.Find(ctx)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				return remove(err.Error()), nil
			}
			if len(info.GPUIDs) == 0 {
				return remove("there are none"), nil
			}
			if now, err := gpu.Read(file); err == nil && reflect.DeepEqual(now, info) {
				return nil, nil
			}
			found = info
			return []string{fmt.Sprintf("describe %d with driver %s in %s", len(info.GPUIDs), info.DriverVersion, file)}, nil
		},
		Do: func(context.Context) error {
			if len(found.GPUIDs) > 0 {
				return gpus.Write(file, found)
			}
			return os.Remove(file)
		},
	}
}
