package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ecsagent/agent/config"
	"ecsagent/agent/update/bundle"
	"ecsagent/ecsinit/container"
	"ecsagent/ecsinit/release"
	"ecsagent/ecsinit/step"
)

// imageArchive is what the image of an agent in a container is loaded from.
const imageArchive = "/var/cache/ecs/ecs-agent.tar"

// image is a step that makes sure that Docker has the agent's image.
func (h *host) image(cfg *config.Config) step.Step {
	agent := container.Agent{Image: h.imageName(cfg)}
	return step.Step{
		Name: "agent's image",
		Plan: func(ctx context.Context) ([]string, error) {
			engine, err := container.NewEngine(cfg.DockerEndpoint)
			if err != nil {
				return nil, err
			}
			if has, err := engine.Has(ctx, agent.Image); has || err != nil {
				return nil, err
			}
			return []string{"load " + agent.Image + " from " + imageArchive}, nil
		},
		Do: func(ctx context.Context) error {
			engine, err := container.NewEngine(cfg.DockerEndpoint)
			if err != nil {
				return err
			}
			return agent.Prepare(ctx, engine, imageArchive)
		},
	}
}

// imageName is the image of the agent of now: that of an update, or of the settings.
func (h *host) imageName(cfg *config.Config) string {
	if s := h.decided(); s.Current != nil && s.Current.Image != "" {
		return s.Current.Image
	}
	return cfg.AgentContainerImage
}

// runContainer is the agent in a container, until it ends.
func (h *host) runContainer(ctx context.Context, cmd *cobra.Command, cfg *config.Config, note string, environ []string) (err error) {
	engine, err := container.NewEngine(cfg.DockerEndpoint)
	if err != nil {
		return err
	}
	agent := container.Agent{Name: h.container, Image: h.imageName(cfg), Config: cfg, Environ: environ}
	if note != "" {
		agent.Environ = append(agent.Environ, noteVariable+"="+note)
	}
	if manager := os.Getenv("NOTIFY_SOCKET"); manager != "" {
		agent.Notify = filepath.Join(h.runDir(), "notify", "socket")
		relay, err := container.OpenRelay(agent.Notify, manager)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, relay.Close()) }()
	}
	if err := h.process.Claim(); err != nil {
		return err
	}
	return agent.Run(ctx, engine, cmd.OutOrStdout(), cmd.ErrOrStderr())
}

// loadUpdate is an update as an image in Docker.
func (h *host) loadUpdate(ctx context.Context, cfg *config.Config, staged *release.Staged, b *bundle.Bundle) (release.Release, error) {
	r := release.Release{ID: staged.ID, Version: b.Version, Image: "sha256:" + b.Config}
	engine, err := container.NewEngine(cfg.DockerEndpoint)
	if err != nil {
		return r, err
	}
	if err := h.updates.KeepState(r, cfg.DataDir); err != nil {
		return r, err
	}
	return r, container.Agent{Image: r.Image}.Prepare(ctx, engine, filepath.Join(staged.Dir, staged.Name))
}
