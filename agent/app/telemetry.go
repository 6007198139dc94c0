package app

import (
	"context"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/endpoint/metadata"
	"ecsagent/agent/stats"
	"ecsagent/agent/task"
	"ecsagent/agent/tcs"
	"ecsagent/agent/version"
)

// pictures show each picture of a task to those who serve it and who measure it.
type pictures struct {
	endpoint *taskEndpoint
	usage    *stats.Collector // nil when metrics are disabled
}

// Published implements engine.Pictures.
func (p pictures) Published(s *task.Snapshot) {
	p.endpoint.Published(s)
	p.usage.Observe(s)
}

// Gone implements engine.Pictures.
func (p pictures) Gone(arn string) {
	p.endpoint.Gone(arn)
	p.usage.Gone(arn)
}

// statsEndpoint is the usage of containers as the endpoints show it.
type statsEndpoint struct{ usage *stats.Collector }

// Stats implements metadata.Stats: version 4 has rates, older ones have not.
func (e statsEndpoint) Stats(id string) (latest, older any, tracked bool) {
	r, tracked := e.usage.Stats(id)
	if r == nil {
		return nil, nil, tracked
	}
	return r, &r.Sample, tracked
}

// statsOf is nil when nothing is measured.
func statsOf(usage *stats.Collector) metadata.Stats {
	if usage == nil {
		return nil
	}
	return statsEndpoint{usage}
}

// collector measures what containers use; nil when that is disabled.
func (a *agent) collector() *stats.Collector {
	if a.cfg.DisableMetrics {
		a.log.Info("metrics are disabled: ECS is told that the instance is idle, and the stats endpoints are empty")
		return nil
	}
	o := stats.Options{
		Source: a.statsSource(), Log: a.log, Every: statsEvery,
		TaskNetworkEvery: a.cfg.PollingMetricsWait, Windows: a.host.OSType == "windows",
	}
	if a.cfg.PollMetrics || o.Windows {
		o.Every = a.cfg.PollingMetricsWait
	}
	return stats.New(o)
}

// telemetry is the session with TCS.
func (a *agent) telemetry(usage *stats.Collector) (*tcs.Session, error) {
	tls, err := awsenv.TLSConfig(a.tls)
	if err != nil {
		return nil, err
	}
	o := tcs.Options{
		Cluster: a.me.Cluster, InstanceARN: a.me.InstanceARN, Region: a.cfg.Region,
		AgentVersion: version.Number(), AgentHash: version.ShortCommit(),
		DockerVersion: func() string { return a.engineOf.Server },
		Discover: func(ctx context.Context) (string, error) {
			out, err := a.discovery.Endpoints(ctx, a.me.InstanceARN, a.me.Cluster)
			if err != nil {
				return "", err
			}
			return out.TelemetryEndpoint, nil
		},
		Dialed: a.dialed, Signing: a.credentials, TLS: tls, Proxy: a.proxy.ForRequest, Tasks: a.engine, Log: a.log,
		Checks: a.health,
	}
	if usage != nil {
		o.Metrics = usage
	} else if a.cfg.DockerHealthCheckDisabled {
		a.log.Warn("metrics and health checks are disabled: telemetry tells ECS nothing of tasks", zap.String("instance", a.me.InstanceARN))
	}
	return tcs.New(o), nil
}

// dialed remembers how an attempt to connect to an endpoint ended.
func (a *agent) dialed(endpoint string, err error) {
	if err != nil {
		a.discovery.ConnectFailed(endpoint)
	} else {
		a.discovery.Connected(endpoint)
	}
}
