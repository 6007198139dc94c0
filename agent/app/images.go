package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/image"
	"ecsagent/agent/image/asm"
	"ecsagent/agent/image/ecr"
	"ecsagent/agent/pause"
	"ecsagent/agent/runtime"
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
	i := &images{accounts: image.NewAccounts(savedImages(a.loaded.Images, a.log))}
	i.Puller = image.New(image.Options{
		Engine: a.imageEngine(), Behavior: behavior, Accounts: i.accounts, Log: a.log,
		Parallel: a.cfg.ImagePullsAtOnce, Upfront: a.cfg.DependentContainersPullUpfront,
		Ended: func() {
			if i.cleaner != nil {
				i.cleaner.Kick()
			}
		},
		Limits: image.Limits{Manifest: a.cfg.ManifestPullTimeout, Pull: a.cfg.ImagePullTimeout},
		Logins: image.Logins{
			Engine: registries, ECR: a.ecrTokens(roles), Secrets: a.registrySecrets(roles),
			Role: roleOf(roles),
		},
	})
	i.cleaner = a.imageCleaner(i, behavior)
	return i, nil
}

// imageCleaner makes what removes images; nil when nothing ever does.
func (a *agent) imageCleaner(i *images, behavior task.PullBehavior) *image.Cleaner {
	byAge := behavior != task.PullPreferCached
	if a.cfg.ImageCleanupDisabled || !byAge && a.cfg.ImageDiskHigh == 0 {
		return nil
	}
	return image.NewCleaner(image.CleanerOptions{
		Engine: a.docker, Accounts: i.accounts, Puller: i.Puller, Tasks: taskImages{a}, Log: a.log,
		Idle: !byAge, Interval: a.cfg.ImageCleanupInterval, MinimumAge: a.cfg.ImageMinimumCleanupAge, PerCycle: a.cfg.NumImagesToDeletePerCycle,
		Untracked: a.cfg.UntrackedImageCleanup, UntrackedAge: a.cfg.NonECSImageMinimumCleanupAge,
		ContainerAge: a.cfg.TaskCleanupWait, PerCycleOther: a.cfg.NumNonECSContainersDeletedPerCycle,
		Exclude: append([]string{pause.Image, task.ConnectImage, a.cfg.PauseImageName + ":" + a.cfg.PauseImageTag}, a.cfg.ImageCleanupExclusions...),
		Disk:    image.Watermarks{High: a.cfg.ImageDiskHigh, Low: a.cfg.ImageDiskLowMark(), Used: a.imageDisk},
	})
}

// imageDisk tells how full the disk is that holds Docker's images.
func (a *agent) imageDisk(ctx context.Context) (float64, error) {
	root, err := a.docker.DataRoot(ctx)
	if err != nil {
		return 0, err
	}
	return diskUsed(root)
}

// taskImages tells the cleaner what the engine's tasks need.
type taskImages struct{ a *agent }

// Images implements image.Tasks.
func (t taskImages) Images() (refs, ids []string) {
	for _, s := range t.a.engine.Snapshots() {
		for i := range s.Containers {
			if s.Containers[i].Pulled() {
				refs, ids = append(refs, s.Containers[i].Image), append(ids, s.State.Containers[i].ImageID)
			}
		}
	}
	return refs, ids
}

// Owns implements image.Tasks.
func (t taskImages) Owns(c *runtime.Container) bool {
	return t.a.engine.Snapshot(c.Labels[runtime.LabelTaskARN]) != nil
}

// released notes that a task does not use its images any more.
func (i *images) released(s *task.Snapshot) {
	if s == nil {
		return
	}
	for n := range s.Containers {
		i.accounts.Released(s.Containers[n].Image, time.Now())
	}
}

// ecrTokens asks ECR with the instance's credentials or those of execution roles.
func (a *agent) ecrTokens(roles *credentials.Store) *ecr.Client {
	return ecr.New(ecr.Options{
		HTTP: a.http, IPv6Only: a.ipv6Only, UserAgent: a.userAgent, Log: a.log,
		Credentials: func(id string) aws.CredentialsProvider {
			if id == "" {
				return a.credentials
			}
			return executionRole(roles, id)
		},
	})
}

// registrySecrets asks Secrets Manager with the credentials of execution roles.
func (a *agent) registrySecrets(roles *credentials.Store) *asm.Client {
	return asm.New(a.onBehalf(roles))
}

// executionRole gives the credentials of a role; nil for an id that is not known.
func executionRole(roles *credentials.Store, id string) aws.CredentialsProvider {
	set, ok := roles.Get(id)
	if !ok {
		return nil
	}
	return static(set)
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
