package app

import (
	"context"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/pause"
	"ecsagent/agent/task"
)

// preparePause loads the pause image. Without it tasks that share namespaces cannot
// run, and the capability is not advertised.
func (a *agent) preparePause(ctx context.Context) {
	if a.host.OSType == "windows" && !a.cfg.TaskENI {
		return // its networks are all that it is for there
	}
	l := &pause.Loader{Engine: a.docker, Archive: a.cfg.PauseImageTarball, Log: a.log}
	if err := l.Ensure(ctx); err != nil {
		a.log.Warn("pause image not loaded: tasks cannot share namespaces", zap.Error(err))
		return
	}
	a.pause = l
}

// pauseOf is what pause containers are made of.
func (a *agent) pauseOf() task.Pause {
	if a.pause == nil {
		return task.Pause{}
	}
	return PauseOf(a.cfg)
}

// PauseOf is what pause containers of an agent with these settings are made of.
func PauseOf(cfg *config.Config) task.Pause {
	p := task.Pause{Image: pause.Image, Labels: cfg.PauseLabels}
	if name := cfg.PauseImageName + ":" + cfg.PauseImageTag; name != pause.Image {
		p.Custom = name
	}
	return p
}

// loadPause gets the pause image again.
func (a *agent) loadPause(ctx context.Context) error {
	if a.pause == nil {
		return nil
	}
	return a.pause.Ensure(ctx)
}
