package app

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/ecr"
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
			Engine: registries, ECR: a.ecrTokens(roles),
			Role: func(id string) (string, bool) {
				set, ok := roles.Get(id)
				return set.RoleARN, ok
			},
		},
	}), nil
}

// ecrTokens asks ECR with the instance's credentials or those of execution roles.
func (a *agent) ecrTokens(roles *credentials.Store) *ecr.Tokens {
	return ecr.New(ecr.Options{
		Instance: a.credentials, HTTP: a.http, IPv6Only: a.ipv6Only,
		Role: func(id string) (aws.Credentials, bool) {
			set, ok := roles.Get(id)
			return aws.Credentials{
				AccessKeyID: set.AccessKeyID, SecretAccessKey: set.SecretAccessKey.Reveal(), SessionToken: set.SessionToken.Reveal(),
			}, ok
		},
	})
}
