package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/network/tasknet"
	"ecsagent/agent/pause"
	"ecsagent/agent/resource/connect"
	"ecsagent/agent/task"
)

// connectFolder is where what Service Connect's containers write is kept, below the
// folders of the settings.
const connectFolder = "service_connect"

// connectArchive is where a package puts the image of the proxies.
func connectArchive(cfg *config.Config) string {
	return filepath.Join(cfg.ManagedAgentsDir, "serviceconnect", "ecs-service-connect-agent.interface-v1.tar")
}

// connectFolders are the options of proxies that the settings decide.
func connectFolders(cfg *config.Config) connect.Options {
	partition := awsenv.PartitionOf(cfg.Region)
	return connect.Options{
		Dir: filepath.Join(cfg.RunDir, connectFolder), LogDir: filepath.Join(cfg.TaskLogDir, connectFolder), FIPS: cfg.FIPS,
		Isolated: !partition.Known || partition.Name != "aws" && partition.Name != "aws-us-gov" && partition.Name != "aws-cn",
	}
}

// connectOptions are what Service Connect is made of here. The image is looked at when a
// task needs it, so that one that was put in its place meanwhile counts, and no other
// host waits for it.
func (a *agent) connectOptions() connect.Options {
	o := connectFolders(a.cfg)
	o.InstanceARN, o.Log = a.me.InstanceARN, a.log
	o.Relay = &connect.Relay{
		Runtime: a.docker, Name: "ecs-service-connect-relay-" + instanceID(a.me.InstanceARN), Region: a.cfg.Region, Log: a.log,
		Endpoint: a.connectEndpoint,
		ImageID: func(ctx context.Context, image string) (string, error) {
			got, err := a.docker.InspectImage(ctx, image)
			return got.ID, err
		},
	}
	loader := a.connectLoader()
	o.Image = func(ctx context.Context) error {
		if _, err := tasknet.Verify(ctx, a.cfg.CNIPluginsPath, connectPlugin); err != nil {
			return err
		}
		if _, err := os.Stat(loader.Archive); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("it is not on this container instance: no archive %s (ECS_MANAGED_AGENTS_DIR)", loader.Archive)
		}
		return loader.Ensure(ctx)
	}
	return o
}

// proxies gives Service Connect proxies what they need, and asks them.
func (a *agent) proxies() *connect.Hook {
	a.connect = connect.New(a.connectOptions())
	return a.connect
}

// connectLoader loads the image of the proxies.
func (a *agent) connectLoader() *pause.Loader {
	return &pause.Loader{Name: task.ConnectImage, Engine: a.docker, Archive: connectArchive(a.cfg), Log: a.log}
}

func instanceID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// connectEndpoint is the control plane of Service Connect.
func (a *agent) connectEndpoint(ctx context.Context) string {
	out, err := a.discovery.Endpoints(ctx, a.me.InstanceARN, a.me.Cluster)
	if err == nil && out.ServiceConnectEndpoint != "" {
		return out.ServiceConnectEndpoint
	}
	if err != nil {
		a.log.Warn("endpoint of Service Connect not found out, the usual one is used", zap.Error(err))
	}
	return "https://ecs-sc." + a.cfg.Region + ".api.aws"
}
