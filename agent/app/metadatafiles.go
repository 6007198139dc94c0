package app

import (
	"context"
	"path/filepath"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/engine"
	"ecsagent/agent/resource/metadatafile"
	"ecsagent/agent/runtime"
)

// metadataFiles makes the files about containers; nil when they are off.
func (e *taskEndpoint) metadataFiles(cfg *config.Config, os string) *metadatafile.Files {
	if !cfg.ContainerMetadataEnabled {
		return nil
	}
	dir, host := filepath.Join(cfg.DataDir, "metadata"), hostDir(cfg, "metadata")
	return metadatafile.New(metadatafile.Options{
		Dir: dir, HostDir: host, OS: os, Relabel: cfg.SELinuxCapable, Log: e.log,
		Instance: func() metadatafile.Instance { return *e.fileFacts.Load() },
	})
}

// runtime is Docker as the engine uses it.
func (a *agent) runtime() engine.Runtime {
	if a.endpoint.files == nil {
		return a.docker
	}
	return withMetadataFiles{Runtime: a.docker, files: a.endpoint.files, directory: a.endpoint.directory, log: a.log}
}

// withMetadataFiles gives each container that is made its file.
type withMetadataFiles struct {
	engine.Runtime
	files     *metadatafile.Files
	directory *directory.Directory
	log       *zap.Logger
}

// Create implements engine.Runtime. A container whose file cannot be made is made
// without it.
func (w withMetadataFiles) Create(ctx context.Context, r runtime.CreateRequest) (string, error) {
	arn, name := r.Config.Labels[runtime.LabelTaskARN], r.Config.Labels[runtime.LabelContainerName]
	if t := w.directory.Task(arn); t != nil {
		spec := t.Snapshot().Spec
		if i := spec.Index(name); i >= 0 && !spec.Containers[i].Internal() {
			mount, err := w.files.Create(spec, i)
			if err != nil {
				w.log.Warn("container has no metadata file", zap.String("task", arn), zap.String("container", name), zap.Error(err))
			} else {
				r.HostConfig.Binds = append(r.HostConfig.Binds, mount.Bind)
				r.Config.Env = append(r.Config.Env, "ECS_CONTAINER_METADATA_FILE="+mount.File)
			}
		}
	}
	return w.Runtime.Create(ctx, r)
}
