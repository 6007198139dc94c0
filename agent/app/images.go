package app

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/image"
	"ecsagent/agent/image/ecr"
	"ecsagent/agent/task"
)

// images is what gets images, accounts for them and removes them.
type images struct {
	*image.Puller
	accounts *image.Accounts
	cleaner  *image.Cleaner // nil: images are never removed
}

// images makes the puller that all tasks share.
func (a *agent) images(roles *credentials.Store) (*images, error) {
	behavior, err := task.ParsePullBehavior(a.cfg.ImagePullBehavior)
	if err != nil {
		return nil, err
	}
	registries, problems := image.ParseEngineAuth(a.cfg.EngineAuthType, a.cfg.EngineAuthData)
	for _, problem := range problems {
		a.log.Warn("registry login not usable", zap.String("setting", "ECS_ENGINE_AUTH_DATA"), zap.String("problem", problem))
	}
	accounts := image.NewAccounts(savedImages(a.loaded.Images, a.log))
	puller := image.New(image.Options{
		Engine: a.docker, Behavior: behavior, Accounts: accounts, Log: a.log,
		Limits: image.Limits{Manifest: a.cfg.ManifestPullTimeout, Pull: a.cfg.ImagePullTimeout},
		Logins: image.Logins{
			Engine: registries, ECR: a.ecrTokens(roles),
			Role: func(id string) (string, bool) {
				set, ok := roles.Get(id)
				return set.RoleARN, ok
			},
		},
	})
	i := &images{Puller: puller, accounts: accounts}
	if !a.cfg.ImageCleanupDisabled && behavior != task.PullPreferCached {
		i.cleaner = image.NewCleaner(image.CleanerOptions{
			Engine: a.docker, Accounts: accounts, Forget: puller.Forget, Log: a.log,
			Interval: a.cfg.ImageCleanupInterval, MinimumAge: a.cfg.ImageMinimumCleanupAge, PerCycle: a.cfg.NumImagesToDeletePerCycle,
			Untracked: a.cfg.UntrackedImageCleanup, UntrackedAge: a.cfg.NonECSImageMinimumCleanupAge,
			Exclude: append([]string{a.cfg.PauseImageName + ":" + a.cfg.PauseImageTag}, a.cfg.ImageCleanupExclusions...),
		})
	}
	return i, nil
}

// ecrTokens asks ECR with the instance's credentials or those of execution roles.
func (a *agent) ecrTokens(roles *credentials.Store) *ecr.Client {
	return ecr.New(ecr.Options{
		HTTP: a.http, IPv6Only: a.ipv6Only, UserAgent: a.userAgent, Log: a.log,
		Credentials: func(id string) aws.CredentialsProvider {
			if id == "" {
				return a.credentials
			}
			set, ok := roles.Get(id)
			if !ok {
				return nil
			}
			return awscredentials.NewStaticCredentialsProvider(set.AccessKeyID, set.SecretAccessKey.Reveal(), set.SessionToken.Reveal())
		},
	})
}

// watchImages keeps what is remembered of local images true.
func (a *agent) watchImages(i *images) func(context.Context) error {
	return func(ctx context.Context) error { return a.docker.WatchImages(ctx, i.Changed) }
}

// accountImages stores the accounts of images as they change.
func (a *agent) accountImages(i *images) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-i.accounts.Dirty():
			}
			changed, gone := i.accounts.Changes()
			records := make(map[string]any, len(changed)+len(gone))
			for _, r := range changed {
				records[r.Image.ImageID] = r
			}
			for _, id := range gone {
				records[id] = nil
			}
			if err := a.store.SaveImages(records); err != nil {
				a.log.Error("image accounts not saved", zap.Error(err))
			}
		}
	}
}

// savedImages decodes the records of the last run; a bad one is told and left out:
// its image is found again when a task uses it.
func savedImages(saved map[string]json.RawMessage, log *zap.Logger) (records []image.Record) {
	for id, raw := range saved {
		var record image.Record
		if err := json.Unmarshal(raw, &record); err != nil || record.Image.ImageID != id {
			log.Error("saved image account not read", zap.String("image", id), zap.Error(err))
			continue
		}
		records = append(records, record)
	}
	return records
}
