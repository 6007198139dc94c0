package connect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"
	"go.uber.org/zap"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Runtime is Docker, as far as the relay needs it.
type Runtime interface {
	Create(ctx context.Context, r runtime.CreateRequest) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, timeout time.Duration) error
	Inspect(ctx context.Context, idOrName string) (runtime.Container, error)
	Remove(ctx context.Context, id string) error
}

// Relay is the container through which the instance's proxies reach the control plane
// (docs/spec/05 section 6.5). It has no task: Docker restarts it, also without the agent.
type Relay struct {
	Runtime  Runtime
	Name     string // of the container, one for each agent
	Region   string
	Endpoint func(ctx context.Context) string                               // of the control plane
	ImageID  func(ctx context.Context, image string) (id string, err error) // of an image that is there
	Log      *zap.Logger
}

// labelRelay has the settings that a relay was made with.
const labelRelay = "com.amazonaws.ecs.service-connect-relay"

// relayStop is what a relay gets to end, before its end is made.
const relayStop = 5 * time.Second

// ensure makes the relay run, with the image and the settings of now.
func (r *Relay) ensure(ctx context.Context, o *Options) error {
	request := r.request(ctx, o)
	image, err := r.ImageID(ctx, task.ConnectImage)
	if err != nil {
		return fmt.Errorf("look for the image: %w", err)
	}
	has, err := r.Runtime.Inspect(ctx, r.Name)
	switch {
	case errors.Is(err, runtime.ErrNotFound):
	case err != nil:
		return err
	case has.Status == task.ContainerRunning && has.Image == image && has.Labels[labelRelay] == request.Config.Labels[labelRelay]:
		return nil
	default:
		if err := r.remove(ctx, has.ID); err != nil {
			return err
		}
	}
	id, err := r.Runtime.Create(ctx, request)
	if err == nil {
		err = r.Runtime.Start(ctx, id)
	}
	if err != nil {
		return err
	}
	r.Log.Info("Service Connect relay started", zap.String("container", id), zap.String("image", image))
	return nil
}

func (r *Relay) request(ctx context.Context, o *Options) runtime.CreateRequest {
	variables := map[string]string{
		"APPNET_RELAY_LISTENER_UDS_PATH":   insideRelay + relaySocket,
		"APPNET_ENABLE_RELAY_MODE_FOR_XDS": "1",
		"APPNET_AGENT_ADMIN_UDS_PATH":      insideRun + adminSocket,
		"APPNET_AGENT_ADMIN_MODE":          "uds",
		"ENVOY_ADMIN_MODE":                 "uds",
		"APPNET_ENVOY_LOG_DESTINATION":     insideLog,
		"AWS_REGION":                       r.Region,
		"APPMESH_XDS_ENDPOINT":             r.Endpoint(ctx),
		"ECS_CONTAINER_INSTANCE_ARN":       o.InstanceARN,
	}
	folder := filepath.Join(o.Dir, relayFolder)
	binds := []string{folder + ":" + insideRun, folder + ":" + insideRelay, filepath.Join(o.LogDir, relayFolder) + ":" + insideLog}
	o.common(&binds, variables)
	var environment []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		environment = append(environment, name+"="+variables[name])
	}
	return runtime.CreateRequest{
		Name: r.Name,
		Config: &container.Config{
			Image: task.ConnectImage, User: user, Env: environment, Labels: map[string]string{labelRelay: text([]any{environment, binds})},
			Healthcheck: &container.HealthConfig{Test: []string{"CMD-SHELL", "/health_check.sh"}, Interval: 5 * time.Second, Timeout: 2 * time.Second, Retries: 3},
		},
		HostConfig: &container.HostConfig{NetworkMode: "host", Binds: binds, RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}},
	}
}

// end removes the relay, if there is one.
func (r *Relay) end(ctx context.Context) error {
	has, err := r.Runtime.Inspect(ctx, r.Name)
	if errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the Service Connect relay: %w", err)
	}
	return r.remove(ctx, has.ID)
}

func (r *Relay) remove(ctx context.Context, id string) error {
	err := r.Runtime.Stop(ctx, id, relayStop)
	if err == nil || errors.Is(err, runtime.ErrNotFound) {
		err = r.Runtime.Remove(ctx, id)
	}
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		return fmt.Errorf("remove the Service Connect relay: %w", err)
	}
	return nil
}
