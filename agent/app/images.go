package app

import (
	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/image"
	"ecsagent/agent/task"
)

// images makes the puller that all tasks share.
func (a *agent) images(roles *credentials.Store) (*image.Puller, error) {
	pull, err := task.ParsePullBehavior(a.cfg.ImagePullBehavior)
	if err != nil {
		return nil, err
	}
	registries, problems := image.ParseEngineAuth(a.cfg.EngineAuthType, a.cfg.EngineAuthData)
	for _, problem := range problems {
		a.log.Warn("registry login not usable", zap.String("setting", "ECS_ENGINE_AUTH_DATA"), zap.String("problem", problem))
	}
	return image.New(image.Options{
		Engine: a.docker, Behavior: pull, Log: a.log,
		Limits: image.Limits{Manifest: a.cfg.ManifestPullTimeout, Pull: a.cfg.ImagePullTimeout},
		Logins: image.Logins{
			Engine: registries,
			Role: func(id string) (string, bool) {
				set, ok := roles.Get(id)
				return set.RoleARN, ok
			},
		},
	}), nil
}
