package ebs

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/network"
)

const (
	// lookEvery is the pause between two looks for volumes that are announced
	// (docs/spec/02 section 7.11).
	lookEvery = 500 * time.Millisecond
	// stageLimit bounds one attempt, in which a large volume may be formatted.
	stageLimit = time.Minute
)

// Stager mounts volumes.
type Stager interface {
	Stage(ctx context.Context, v Volume) error
	Unstage(ctx context.Context, name string) error
}

// Records are those of the attachments.
type Records interface {
	All() []network.Attachment
	Add(ctx context.Context, a network.Attachment) error
	FoundVolume(ctx context.Context, id string) (network.Attachment, bool)
}

// Watcher stages volumes that are announced, until they are there or their time is up.
// While none is, it does nothing.
type Watcher struct {
	records Records
	stager  Stager
	log     *zap.Logger
	wake    chan struct{}
}

// NewWatcher watches records.
func NewWatcher(records Records, stager Stager, log *zap.Logger) *Watcher {
	return &Watcher{records: records, stager: stager, log: log, wake: make(chan struct{}, 1)}
}

// Add records an attachment, and looks for it if it is a volume.
func (w *Watcher) Add(ctx context.Context, a network.Attachment) error {
	if err := w.records.Add(ctx, a); err != nil {
		return err
	}
	if a.Kind == network.EBSVolume {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	followed := make(map[string]bool) // by volume
	ended := make(chan string)
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		for _, a := range w.records.All() {
			if followed[a.VolumeID] || a.Kind != network.EBSVolume || a.Status != network.StatusNone || a.Sent || !a.ExpiresAt.After(time.Now()) {
				continue
			}
			followed[a.VolumeID] = true
			work.Go(func() {
				w.follow(ctx, a)
				select {
				case ended <- a.VolumeID:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		case volume := <-ended:
			delete(followed, volume)
		}
	}
}

// follow stages a volume, again and again until it is there or its time is up. What keeps
// it is logged once for each reason.
func (w *Watcher) follow(ctx context.Context, a network.Attachment) {
	ctx, cancel := context.WithDeadline(ctx, a.ExpiresAt)
	defer cancel()
	v := volumeOf(a.Properties)
	v.VolumeID = a.VolumeID
	for told := ""; ; {
		err := w.stage(ctx, v)
		if err == nil {
			w.records.FoundVolume(ctx, a.VolumeID)
			return
		}
		if text := err.Error(); text != told && ctx.Err() == nil && !errors.Is(err, ErrNoDevice) {
			told = text
			w.log.Warn("volume not staged, it is tried again", zap.String("volume", a.VolumeID), zap.String("task", a.TaskARN), zap.Error(err))
		}
		timer := time.NewTimer(lookEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (w *Watcher) stage(ctx context.Context, v Volume) error {
	ctx, cancel := context.WithTimeout(ctx, stageLimit)
	defer cancel()
	return w.stager.Stage(ctx, v)
}
