package app

import (
	"context"
	"encoding/json"
	"fmt"

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
		TaskNetworkEvery: a.cfg.PollingMetricsWait, Windows: a.host.OSType == "windows", Bases: a.savedBases(),
	}
	if a.cfg.PollMetrics || o.Windows {
		o.Every = a.cfg.PollingMetricsWait
	}
	return stats.New(o)
}

// usageBases keeps in the state file what containers used before they were restarted.
type usageBases struct {
	store checkpoint
	saved map[string]json.RawMessage // of the last run
}

// savedBases forgets at once what is of containers that do not run any more.
func (a *agent) savedBases() usageBases {
	runs := make(map[string]bool)
	for i := range a.loaded.Tasks {
		for _, c := range a.loaded.Tasks[i].State.Containers {
			if c.Known.IsRunning() {
				runs[c.RuntimeID] = true
			}
		}
	}
	b := usageBases{a.store, a.loaded.Usage}
	for id := range b.saved {
		if runs[id] {
			continue
		}
		if err := b.DeleteBase(id); err != nil {
			a.log.Debug("usage before a restart not forgotten", zap.Error(err))
		}
	}
	return b
}

// SaveBase implements stats.Bases.
func (b usageBases) SaveBase(id string, base *stats.Base) error { return b.store.SaveUsage(id, base) }

// LoadBase implements stats.Bases.
func (b usageBases) LoadBase(id string) (*stats.Base, error) {
	text, ok := b.saved[id]
	if !ok {
		return nil, nil
	}
	base := new(stats.Base)
	if err := json.Unmarshal(text, base); err != nil {
		return nil, fmt.Errorf("decode usage before a restart: %w", err)
	}
	return base, nil
}

// DeleteBase implements stats.Bases.
func (b usageBases) DeleteBase(id string) error { return b.store.DeleteUsage(id) }

// telemetry is the session with TCS.
func (a *agent) telemetry(usage *stats.Collector) (*tcs.Session, error) {
	tls, err := awsenv.TLSConfig(a.tls)
	if err != nil {
		return nil, err
	}
	o := tcs.Options{
		Cluster: a.me.Cluster, InstanceARN: a.me.InstanceARN, Region: a.cfg.Region,
		AgentVersion: version.Number(), AgentHash: version.ShortCommit(),
		DockerVersion: func() string { return a.docker.Version().Server },
		Discover: func(ctx context.Context) (string, error) {
			out, err := a.discovery.Endpoints(ctx, a.me.InstanceARN, a.me.Cluster)
			if err != nil {
				return "", err
			}
			return out.TelemetryEndpoint, nil
		},
		Dialed: func(endpoint string, err error) {
			a.meter.Dialed("tcs", err)
			a.dialed(endpoint, err)
		},
		Signing: a.credentials, TLS: tls, Proxy: a.proxy.ForRequest, Tasks: a.engine, Log: a.log,
		Checks: a.health,
	}
	if a.connect != nil {
		o.Connect = a.connect.Metrics
	}
	if usage != nil {
		o.Metrics, o.Volumes = usage, a.volumeUsage()
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
