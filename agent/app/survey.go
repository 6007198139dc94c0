package app

import (
	"context"
	"sync"

	"go.uber.org/zap"
)

// survey finds out what tasks can have on this host: what Docker and programs are asked
// about for that. Registration waits for it, so all is asked at once.
func (a *agent) survey(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() { a.preparePause(ctx) })
	asking.Go(func() {
		if err := a.findVolumePlugins(ctx); err != nil {
			a.log.Warn("docker volume plugins not listed", zap.Error(err))
		}
	})
	asking.Go(func() { a.faultTools = !a.cfg.External && faultTools(ctx, a.ipv6Only) == nil })
	asking.Go(func() { a.rolesReached.Store(a.rolesReach(ctx)) })
	return a.prepareCgroups(ctx)
}

// findVolumePlugins lists Docker's. Those that cannot be listed are the ones that were
// known, which is none at the start: an instance with fewer attributes is better than none.
func (a *agent) findVolumePlugins(ctx context.Context) error {
	plugins, err := a.docker.VolumePlugins(ctx)
	if err != nil && a.volumePlugins != nil {
		return err
	}
	a.volumePlugins = append(plugins, a.host.VolumePlugins...)
	return err
}
