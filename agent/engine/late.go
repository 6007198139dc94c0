package engine

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
)

// lateVolumeLooks are how long after the clean-up of its task a volume is removed once more
// whose creation was not answered. Drivers get some minutes from Docker.
var lateVolumeLooks = []time.Duration{time.Minute, 6 * time.Minute, 21 * time.Minute}

// LateVolumes remember, over a restart too, the volumes of tasks that were cleaned up which
// Docker may finish making after that.
type LateVolumes interface {
	// LateVolumes are those that are remembered, with when their tasks were cleaned up.
	LateVolumes() map[string]time.Time
	KeepLateVolume(name string, since time.Time) error
	ForgetLateVolume(name string) error
}

// removeLate has a volume removed again that Docker was asked for and has not answered. It is
// remembered before the task's record goes.
func (e *Engine) removeLate(volume string) error {
	since := time.Now()
	if e.opt.LateVolumes != nil {
		if err := e.opt.LateVolumes.KeepLateVolume(volume, since); err != nil {
			return fmt.Errorf("remember volume %s: %w", volume, err)
		}
	}
	if _, busy := e.late.LoadOrStore(volume, true); !busy { // a clean-up is tried again until all of it succeeds
		e.workers.Go(func() {
			defer e.late.Delete(volume)
			e.removeAgain(volume, since)
		})
	}
	return nil
}

// resumeLate goes on with what a former run remembered. A look may have been due meanwhile.
func (e *Engine) resumeLate() {
	if e.opt.LateVolumes == nil {
		return
	}
	for volume, since := range e.opt.LateVolumes.LateVolumes() {
		e.late.Store(volume, true)
		e.workers.Go(func() {
			defer e.late.Delete(volume)
			e.removeOnce(volume)
			e.removeAgain(volume, since)
		})
	}
}

// removeAgain removes a volume at each of the looks that are left, and after the last until
// Docker does not refuse it.
func (e *Engine) removeAgain(volume string, since time.Time) {
	waits := make([]time.Duration, 0, len(lateVolumeLooks))
	for i, look := range lateVolumeLooks {
		if wait := time.Until(since.Add(look)); wait > 0 || i == len(lateVolumeLooks)-1 {
			waits = append(waits, wait)
		}
	}
	begun, gone := time.Now(), false
	for _, wait := range waits {
		if !sleep(e.ctx, wait-time.Since(begun)) {
			return
		}
		gone = e.removeOnce(volume)
	}
	for !gone {
		if !sleep(e.ctx, cleanupRetryMax) {
			return
		}
		gone = e.removeOnce(volume)
	}
	if e.opt.LateVolumes == nil {
		return
	}
	if err := e.opt.LateVolumes.ForgetLateVolume(volume); err != nil {
		e.log.Warn("removed volume still remembered, it is looked for again at the next start", zap.String("volume", volume), zap.Error(err))
	}
}

// removeOnce reports whether the volume is not there now.
func (e *Engine) removeOnce(volume string) bool {
	err := e.opt.Runtime.RemoveVolume(e.ctx, volume)
	if err == nil || errors.Is(err, runtime.ErrNotFound) {
		return true
	}
	if e.ctx.Err() == nil {
		e.log.Warn("volume of a task that was cleaned up not removed", zap.String("volume", volume), zap.Error(err))
	}
	return false
}
