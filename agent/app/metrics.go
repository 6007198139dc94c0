package app

import (
	"context"
	"net"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/credentials"
	"ecsagent/agent/image"
	"ecsagent/agent/metrics"
	"ecsagent/agent/report"
	"ecsagent/agent/runtime"
	"ecsagent/agent/runtime/docker"
	"ecsagent/agent/version"
)

// newMeter makes what Prometheus reads; nil when nobody asked for it.
func (b *base) newMeter() *metrics.Meter {
	if !b.cfg.Prometheus {
		return nil
	}
	return metrics.New(version.Number(), version.ShortCommit())
}

// dockerObserver hears of calls to Docker; nil when nobody counts them.
func (b *base) dockerObserver() docker.Observer {
	if b.meter == nil {
		return nil
	}
	return b.meter.DockerCall
}

// meteredPulls counts pulls.
type meteredPulls struct {
	image.Engine
	meter *metrics.Meter
}

// Pull implements image.Engine.
func (m meteredPulls) Pull(ctx context.Context, ref string, auth *runtime.RegistryAuth, told func(runtime.PullProgress)) error {
	start := time.Now()
	err := m.Engine.Pull(ctx, ref, auth, told)
	m.meter.Pulled(time.Since(start), err)
	return err
}

// imageEngine is Docker as the puller needs it.
func (a *agent) imageEngine() image.Engine {
	if a.meter == nil {
		return a.docker
	}
	return meteredPulls{a.docker, a.meter}
}

// readMetrics lets the meter read the state of the parts.
func (a *agent) readMetrics(roles *credentials.Store, reporter *report.Reporter, connected map[string]func() bool) {
	a.meter.Read(metrics.Sources{
		Tasks: a.engine.Snapshots, Timelines: a.engine.Timelines, Connected: connected,
		Owed: reporter.Owed, Health: a.health.doctor.Report,
		CredentialSets: func() (valid, expired int) {
			now := time.Now()
			for _, set := range roles.All() {
				if at, err := time.Parse(time.RFC3339, set.Expiration); err == nil && now.After(at) {
					expired++
				} else {
					valid++
				}
			}
			return valid, expired
		},
	})
}

// serveMetrics serves as soon as the address is free, and again should it fail:
// nothing else depends on it.
func (a *agent) serveMetrics(ctx context.Context) error {
	delay := awsenv.Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.2, Multiplier: 2}
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.PrometheusAddress)
		if err == nil {
			a.log.Info("prometheus metrics listen", zap.Stringer("address", listener.Addr()))
			err = a.meter.Serve(ctx, listener, a.log)
		}
		if ctx.Err() != nil {
			return nil
		}
		a.log.Warn("prometheus metrics not served", zap.Error(err))
		if awsenv.Sleep(ctx, delay.Next()) != nil {
			return nil
		}
	}
}
