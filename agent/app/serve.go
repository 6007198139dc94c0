package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/acs"
	"ecsagent/agent/awsenv"
	"ecsagent/agent/credentials"
	"ecsagent/agent/doctor"
	"ecsagent/agent/drain"
	"ecsagent/agent/endpoint/introspection"
	"ecsagent/agent/engine"
	"ecsagent/agent/network"
	"ecsagent/agent/report"
	"ecsagent/agent/resource/ebs"
	"ecsagent/agent/tcs"
	"ecsagent/agent/update"
	"ecsagent/agent/version"
)

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// serve runs every part until ctx ends or one of them fails. cancel ends ctx with a
// cause that carries the exit code.
func (a *agent) serve(ctx context.Context, cancel context.CancelCauseFunc) error {
	parts, release, err := a.parts(ctx, cancel)
	if err != nil {
		return err
	}
	defer release()
	ended := make(chan error, len(parts))
	var running sync.WaitGroup
	for _, p := range parts {
		running.Go(func() {
			err := p.run(ctx)
			if err == nil && ctx.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
				ended <- fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	running.Go(func() { a.giveBackMemory(ctx) })
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	cancel(err)
	if !within(shutdownLimit, running.Wait) {
		a.log.Warn("parts did not end in time", zap.Duration("limit", shutdownLimit))
	}
	return err
}

// started is when the work of the start is surely done.
const started = 3 * time.Second

// giveBackMemory returns to the system what the start took and nobody needs any more. An
// idle agent would keep it: its next collection of garbage is minutes away.
func (a *agent) giveBackMemory(ctx context.Context) {
	if awsenv.Sleep(ctx, started) != nil {
		return
	}
	debug.FreeOSMemory()
	if err := releaseProgram(); err != nil {
		a.log.Debug("pages of the program not given back", zap.Error(err))
	}
}

// within reports whether wait returned before the limit.
func within(limit time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// parts builds what runs. release lets go of what is not a part.
func (a *agent) parts(ctx context.Context, cancel context.CancelCauseFunc) ([]part, func(), error) {
	roles := a.endpoint.roles
	images, err := a.images(roles)
	if err != nil {
		return nil, nil, err
	}
	reporter := report.New(report.Options{
		API: a.api.With(ecsapiOnce), Store: a.store, Cluster: a.cluster,
		OnSent:              func(arn string, sent sentRecord) { a.engine.Sent(arn, sent) },
		ExcludeIPv6Bindings: a.cfg.ExcludeIPv6PortBinding, ExcludeIPv4Bindings: a.ipv6Only, Log: a.log,
	})
	for _, r := range a.loaded.Tasks {
		reporter.Restore(r.Spec.ARN, r.Sent)
	}
	waitForVolumes := func() {}
	var attachments *network.Attachments
	attachments = network.New(network.Options{
		Store: attachmentStore{a.store}, Saved: savedAttachments(a.loaded, a.log), Log: a.log,
		Attached: func(found network.Attachment) { a.confirm(ctx, reporter, attachments, found) },
	})
	a.attachments = attachments
	forget := func(arn string) {
		images.released(a.engine.Snapshot(arn))
		reporter.Forget(arn)
		roles.RemoveTask(arn)
		if err := attachments.RemoveTask(ctx, arn); err != nil {
			a.log.Debug("attachments of task not forgotten", zap.String("task", arn), zap.Error(err))
		}
	}
	var observer engine.Reporter = reporter
	var records acs.Attachments = attachments
	var volumes *ebs.Watcher
	if stager := a.ebsStager(); stager != nil {
		volumes = ebs.NewWatcher(attachments, stager, a.log)
		unstaging := ebs.NewReporter(ctx, reporter, stager, a.log)
		observer, records, waitForVolumes = unstaging, volumes, unstaging.Wait
	}
	options, err := a.engineOptions(roles, images, observer, forget)
	if err != nil {
		return nil, nil, err
	}
	if a.engine, err = engine.New(options); err != nil {
		return nil, nil, err
	}
	stopHearing := roles.Subscribe(func(set credentials.Set) {
		a.engine.CredentialsArrived(set.ID)
		if a.renew != nil {
			a.confirming.Go(func() { a.renew(ctx, set.ID) })
		}
	})
	updater := update.New(update.Options{
		Enabled: a.updatesEnabled(), Dir: a.cfg.UpdateDownloadDir, DualStack: a.ipv6Only, Log: a.log,
		Client: awsenv.HTTPClient(awsenv.HTTPOptions{Proxy: a.proxy.ForRequest, Timeout: updateTimeout}),
		Exit:   func() { cancel(errUpdate) },
	})
	keepRules, checkRules := a.hostRules(ctx)
	systemd := newManager(a.engine.Alive, a.log)
	var session *acs.Session
	a.health = a.newHealth(func() bool { return session.Connected() }, checkRules, func(r *doctor.Report) { systemd.status(a.me.Cluster, r) })
	telemetry, err := a.telemetry(a.usage)
	if err != nil {
		return nil, nil, err
	}
	session, err = a.session(roles, records, updater, telemetry)
	if err != nil {
		return nil, nil, err
	}
	release := func() { stopHearing(); images.Close(); a.confirming.Wait(); waitForVolumes() }
	parts := []part{
		{"engine", a.engine.Run}, {"reporter", reporter.Run}, {"attachments", attachments.Run},
		{"updates", updater.Run}, {"image events", a.watchImages(images)}, {"image accounts", a.accountImages(images)}, {"introspection", a.introspection}, {"acs", session.Run},
		{"telemetry", telemetry.Run},
	}
	if a.usage != nil {
		parts = append(parts, part{"usage", a.usage.Run})
	}
	if links := hostLinks(); links != nil && a.cfg.TaskENI {
		parts = append(parts, a.watchENIs(attachments, links))
	}
	if volumes != nil {
		parts = append(parts, part{"volumes", volumes.Run})
	}
	if a.cfg.GPUSupport && len(a.gpus.GPUIDs) == 0 {
		parts = append(parts, part{"GPUs", a.awaitGPUs})
	}
	if images.cleaner != nil {
		parts = append(parts, part{"image clean-up", images.cleaner.Run})
	}
	if a.meter != nil {
		a.readMetrics(roles, reporter, map[string]func() bool{"acs": session.Connected, "tcs": telemetry.Connected})
		parts = append(parts, part{"metrics", a.serveMetrics})
	}
	parts = append(parts, part{"doctor", a.health.doctor.Run}, part{"offer", a.keepOffer})
	if keepRules != nil {
		parts = append(parts, part{"packet rules", keepRules})
	}
	if systemd != nil {
		parts = append(parts, part{"systemd", systemd.run})
	}
	return append(parts, a.endings()...), release, nil
}

// endings are the parts that deal with the end of the host.
func (a *agent) endings() []part {
	parts := []part{{"control", a.control}}
	if a.cfg.SpotInstanceDraining && !a.imds.Blackholed() {
		parts = append(parts, part{"draining", func(ctx context.Context) error {
			return drain.Run(ctx, drain.Options{
				Metadata: a.imds, API: a.api, Cluster: a.cluster, InstanceARN: func() string { return a.me.InstanceARN }, Log: a.log,
			})
		}})
	}
	return parts
}

// updatesEnabled is true only where the operator named a place for updates: the ones
// that AWS ships are images of another program (docs/spec/03 section 5.9).
func (a *agent) updatesEnabled() bool {
	return a.cfg.UpdatesEnabled && a.cfg.Explicit("ECS_UPDATE_DOWNLOAD_DIR")
}

// updateTimeout bounds the download of an update (docs/spec/01 section 2.8.7).
const updateTimeout = 15 * time.Minute

func (a *agent) cluster() string { return a.me.Cluster }

// confirm tells ECS of an attachment that was found, beside everything else.
func (a *agent) confirm(ctx context.Context, r *report.Reporter, records *network.Attachments, found network.Attachment) {
	confirmation := report.Attachment{ARN: found.ARN, Deadline: found.ExpiresAt}
	if found.Kind == network.TaskENI {
		confirmation.TaskARN = found.TaskARN
	}
	a.confirming.Go(func() {
		err := r.Confirm(ctx, confirmation)
		if err == nil {
			err = records.Sent(ctx, found.ARN)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("attachment not confirmed", zap.String("attachment", found.ARN), zap.Error(err))
		}
	})
}

func (a *agent) session(roles *credentials.Store, attachments acs.Attachments, updater *update.Updater, telemetry *tcs.Session) (*acs.Session, error) {
	tls, err := awsenv.TLSConfig(a.tls)
	if err != nil {
		return nil, err
	}
	return acs.New(acs.Options{
		Cluster: a.me.Cluster, InstanceARN: a.me.InstanceARN, Region: a.cfg.Region,
		AgentVersion: version.Number(), AgentHash: version.ShortCommit(),
		DockerVersion: func() string { return a.docker.Version().Server },
		Discover: func(ctx context.Context) (string, error) {
			out, err := a.discovery.Endpoints(ctx, a.me.InstanceARN, a.me.Cluster)
			if err != nil {
				return "", err
			}
			return out.Endpoint, nil
		},
		Dialed: func(endpoint string, err error) {
			a.health.plane.Dialed(err)
			a.meter.Dialed("acs", err)
			a.dialed(endpoint, err)
		},
		Signing: a.credentials, TLS: tls, Proxy: a.proxy.ForRequest,
		Inactive: func(inactive bool) {
			a.health.plane.Inactive(inactive)
			telemetry.SetInactive(inactive)
			if inactive {
				a.log.Error("this container instance was deregistered: its tasks run on, no new ones come; to register anew, stop the agent and remove its saved state",
					zap.String("instance", a.me.InstanceARN))
			}
		},
		Health: a.health.doctor, Engine: a.engine, Roles: roles, Attachments: attachments, Updater: updater, Log: a.log,
	}), nil
}

// introspection serves on its address as soon as it is free, and again should it
// fail: nothing else depends on it.
func (a *agent) introspection(ctx context.Context) error {
	delay := awsenv.Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.2, Multiplier: 2}
	o := introspection.Options{
		Cluster: a.cluster, InstanceARN: func() string { return a.me.InstanceARN },
		Version: version.Line(), License: a.options.License, Tasks: a.engine,
		Health: a.health.doctor.Report, Profiling: a.cfg.RuntimeStats, Log: a.log,
	}
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.introspectionAddress())
		if err == nil {
			a.log.Info("introspection listens", zap.Stringer("address", listener.Addr()))
			err = introspection.Serve(ctx, listener, o)
		}
		if ctx.Err() != nil {
			return nil
		}
		a.log.Warn("introspection not served", zap.Error(err))
		if awsenv.Sleep(ctx, delay.Next()) != nil {
			return nil
		}
	}
}

// introspectionAddress is loopback's unless access from elsewhere is allowed.
func (a *agent) introspectionAddress() string {
	if _, port, err := net.SplitHostPort(a.cfg.IntrospectionAddress); err == nil && a.cfg.AllowOffhostIntrospection &&
		strings.HasPrefix(a.cfg.IntrospectionAddress, "127.0.0.1:") {
		return ":" + port
	}
	return a.cfg.IntrospectionAddress
}
