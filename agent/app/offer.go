package app

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"ecsagent/agent/capability"
	"ecsagent/agent/registration"
)

// engineReturned hears that Docker was found again.
func (a *agent) engineReturned() {
	select {
	case a.returned <- struct{}{}:
	default: // it will be looked at anyway
	}
}

// keepOffer registers the instance again when the engine that came back can do other
// things than the one that went, so that ECS places what this one can run.
func (a *agent) keepOffer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case info := <-a.gpusCame:
			a.offerGPUs(ctx, info)
		case <-a.returned:
			if err := a.renewOffer(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("another docker engine is here, and ECS still counts on what the former could do: restart the agent to register anew", zap.Error(err))
			}
		}
	}
}

func (a *agent) renewOffer(ctx context.Context) error {
	if err := a.findVolumePlugins(ctx); err != nil {
		a.log.Warn("volume plugins of the engine that came back not listed: those of the former count", zap.Error(err))
	}
	if err := a.loadPause(ctx); err != nil {
		a.log.Warn("pause image not loaded into the engine that came back", zap.Error(err))
	}
	attributes, err := a.attributes(ctx)
	if err != nil {
		return err
	}
	came, went := missing(attributes, a.offered), missing(a.offered, attributes)
	if len(came)+len(went) == 0 {
		return nil
	}
	a.log.Info("this host can do other things than before: registering again", zap.Strings("new", came), zap.Strings("gone", went))
	return a.presentAgain(ctx, attributes)
}

// presentAgain registers the instance again, as the one that it is.
func (a *agent) presentAgain(ctx context.Context, attributes []capability.Attribute) error {
	if _, err := registration.Register(ctx, a.registrationMeans(), a.offer(a.me.InstanceARN, a.me.Cluster, "", attributes)); err != nil {
		return err
	}
	a.offered = attributes
	return nil
}

// missing names the attributes that one list has and the other has not, or not so.
func missing(has, not []capability.Attribute) (names []string) {
	for _, attribute := range has {
		if !slices.Contains(not, attribute) {
			names = append(names, attribute.Name)
		}
	}
	return names
}
