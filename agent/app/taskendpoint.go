package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/credentials"
	"ecsagent/agent/credentials/keep"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/endpoint/audit"
	credentialsendpoint "ecsagent/agent/endpoint/credentials"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/endpoint/fault"
	"ecsagent/agent/endpoint/gate"
	"ecsagent/agent/endpoint/metadata"
	"ecsagent/agent/endpoint/protection"
	"ecsagent/agent/logging"
	"ecsagent/agent/resource/metadatafile"
	"ecsagent/agent/runtime/docker"
	"ecsagent/agent/store"
	"ecsagent/agent/task"
)

// Names of what the service manager may pass on: the listening socket of the task
// endpoint, and the memory that keeps credentials.
const (
	inheritedSocket      = "ecs-task-endpoint"
	inheritedCredentials = "ecs-credentials"
)

// taskEndpoint is what tasks see of the agent. It answers from the saved state before
// anything else of the agent works, and goes on when the engine takes over.
type taskEndpoint struct {
	log       *zap.Logger
	roles     *credentials.Store
	directory *directory.Directory
	audit     *audit.Log
	gate      *gate.Gate
	faults    *fault.Handler
	files     *metadatafile.Files // nil: off
	fileFacts atomic.Pointer[metadatafile.Instance]
	me        atomic.Pointer[metadata.Instance]
	noZone    bool // ECS_DISABLE_TASK_METADATA_AZ
	address   string
	inherited map[string]*os.File
	engine    atomic.Pointer[docker.Client] // once it is found

	stop     context.CancelFunc
	running  sync.WaitGroup
	closeLog func()
}

// openTaskEndpoint serves tasks from the saved state until close is called.
func (a *agent) openTaskEndpoint(ctx context.Context) (*taskEndpoint, error) {
	e := &taskEndpoint{
		log: a.log, roles: credentials.New(), directory: directory.New(directory.Options{LocalAddress: localAddress}),
		address: a.cfg.TaskEndpointAddress, inherited: inheritedFiles(), noZone: a.cfg.TaskMetadataAZDisabled,
	}
	api, err := a.ecs()
	if err != nil {
		return nil, err
	}
	meta := a.loaded.Meta
	cluster := meta[store.KeyCluster]
	if cluster == "" {
		cluster = a.cfg.Cluster
	}
	e.identified(cluster, meta[store.KeyInstanceARN], meta[store.KeyAvailabilityZone])
	for i := range a.loaded.Tasks {
		if r := &a.loaded.Tasks[i]; r.Spec != nil {
			st := task.RestoreState(r.Spec, r.State, time.Now())
			e.directory.Published(st.Snapshot(r.Spec))
		}
	}
	e.openAudit(a.cfg)
	keeper := e.restore(a.cfg)
	bound := a.cfg.BindCredentials
	network := hostNetwork{ipv6Only: a.ipv6Only, process: e.process}
	e.faults = fault.New(fault.Options{
		Directory: e.directory, Places: network, Runner: network, Bound: bound,
		File: filepath.Join(a.cfg.DataDir, "faults.json"), Log: e.log,
	})
	e.gate = gate.New(gate.Options{
		Credentials: credentialsendpoint.New(credentialsendpoint.Options{
			Store: e.roles, Directory: e.directory, Audit: e.audit, Bound: bound, Served: a.meter.CredentialsServed, Log: e.log,
		}),
		Metadata: metadata.New(metadata.Options{
			Directory: e.directory, Instance: e.me.Load, Tags: tagsAPI{api}, Stats: statsOf(a.usage), Bound: bound, Log: e.log,
		}),
		Protection: protection.New(protection.Options{
			Directory: e.directory, Roles: e.roles, Cluster: e.cluster, Bound: bound, Log: e.log,
			API: func(set credentials.Set) protection.API { return api.With(ecsapi.Credentials(static(set))) },
		}),
		Fault: e.faults,
		Rate:  gate.Rate{Steady: float64(a.cfg.TaskMetadataRate.Steady), Burst: float64(a.cfg.TaskMetadataRate.Burst)},
		Audit: e.audit, Log: e.log,
	})
	ctx, e.stop = context.WithCancel(ctx)
	e.running.Go(func() { e.serve(ctx) })
	e.running.Go(func() { _ = e.faults.Run(ctx) }) // ends with ctx alone
	if e.files = e.metadataFiles(a.cfg, a.host.OSType); e.files != nil {
		e.running.Go(func() { _ = e.files.Run(ctx) })
	}
	if keeper != nil {
		e.running.Go(func() { _ = keeper.Run(ctx) }) // it tells of its failures itself
	}
	return e, nil
}

// openAudit opens the audit log, which is a file of its own.
func (e *taskEndpoint) openAudit(cfg *config.Config) {
	o := audit.Options{
		Cluster: e.cluster, InstanceARN: func() string { return e.me.Load().ARN }, Log: e.log,
	}
	e.closeLog = func() {}
	if !cfg.AuditLogDisabled && cfg.AuditLogFile != "" {
		rollover := logging.Hourly
		if cfg.Log.Rollover == string(logging.BySize) || cfg.Log.Rollover == string(logging.Never) {
			rollover = logging.Rollover(cfg.Log.Rollover)
		}
		file := logging.OpenFile(logging.FileOptions{
			Path: cfg.AuditLogFile, Rollover: rollover, MaxBytes: int64(cfg.Log.MaxFileSizeMB * 1e6), Keep: cfg.Log.MaxRollCount,
		})
		o.Out = io.Writer(file)
		e.closeLog = func() { _ = file.Close() }
	}
	e.audit = audit.New(o)
}

// restore takes the credentials that outlived the last run; nil when none are kept.
func (e *taskEndpoint) restore(cfg *config.Config) *keep.Keeper {
	place, err := credentialPlace(cfg.CredentialsDir, os.Getenv, e.inherited)
	if err != nil {
		e.log.Warn("credentials not kept: after a restart of the agent tasks wait for ecs to send them", zap.Error(err))
	}
	if place == nil {
		return nil
	}
	keeper := keep.New(keep.Options{Store: e.roles, Place: place, Log: e.log, Known: func(arn string) bool {
		t := e.directory.Task(arn)
		return t != nil
	}})
	n, err := keeper.Restore()
	if err != nil {
		e.log.Warn("credentials of the last run not restored", zap.Error(err), zap.Stringer("place", place))
	}
	if n > 0 {
		e.log.Info("credentials restored", zap.Int("sets", n), zap.Stringer("place", place))
	}
	return keeper
}

// identified tells who this instance is.
func (e *taskEndpoint) identified(cluster, instanceARN, zone string) {
	e.fileFacts.Store(&metadatafile.Instance{Cluster: cluster, ARN: instanceARN, Zone: zone})
	if e.noZone {
		zone = ""
	}
	e.me.Store(&metadata.Instance{Cluster: cluster, ARN: instanceARN, Zone: zone})
}

// locate finds out where an EC2 instance is, which metadata tells too. Whatever cannot
// be found out is left out.
func (e *taskEndpoint) locate(ctx context.Context, imds *awsenv.IMDS, ipv6Only bool) {
	if imds.Blackholed() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := e.stop
	e.stop = func() { cancel(); stop() }
	e.running.Go(func() {
		defer cancel()
		me := *e.me.Load()
		vpc, err := imds.VPC(ctx)
		if err == nil {
			me.VPC = vpc.VPCID
		}
		if !e.noZone {
			if zone, err := imds.AvailabilityZoneID(ctx); err == nil {
				me.ZoneID = zone
			}
		}
		e.me.Store(&me)
		facts := *e.fileFacts.Load()
		if ipv6Only {
			facts.PrimaryIPv6, _ = imds.IPv6(ctx) // what is not known is left out
		} else {
			facts.PrivateIPv4, _ = imds.LocalIPv4(ctx)
			facts.PublicIPv4, _ = imds.PublicIPv4(ctx)
		}
		e.fileFacts.Store(&facts)
	})
}

func (e *taskEndpoint) cluster() string { return e.me.Load().Cluster }

// static signs with the credentials of a role.
func static(set credentials.Set) aws.CredentialsProvider {
	return awscredentials.NewStaticCredentialsProvider(set.AccessKeyID, set.SecretAccessKey.Reveal(), set.SessionToken.Reveal())
}

// tagsAPI looks tags up with the instance's credentials.
type tagsAPI struct{ api *ecsapi.Client }

// Tags implements metadata.Tags.
func (t tagsAPI) Tags(ctx context.Context, arn, container string) (map[string]string, error) {
	api := t.api
	if container != "" {
		api = api.With(ecsapi.OnBehalfOf(container))
	}
	out, err := api.ListTagsForResource(ctx, &ecsapi.ListTagsForResourceInput{ResourceARN: arn})
	if err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(out.Tags))
	for _, tag := range out.Tags {
		tags[tag.Key] = tag.Value
	}
	return tags, nil
}

// process is the first process of a container that runs.
func (e *taskEndpoint) process(ctx context.Context, container string) (int, error) {
	engine := e.engine.Load()
	if engine == nil {
		return 0, errors.New("the Docker engine is not found yet")
	}
	c, err := engine.Inspect(ctx, container)
	if err == nil && c.Pid == 0 {
		err = fmt.Errorf("container %s does not run", container)
	}
	return c.Pid, err
}

// forget drops the tasks and credentials of another instance.
func (e *taskEndpoint) forget() {
	e.directory.Tasks(func(t *directory.Task) bool {
		e.roles.RemoveTask(t.ARN)
		return true
	})
	e.directory.Clear()
	e.identified("", "", "")
}

// Published implements engine.Pictures. A task that has stopped needs its role no
// more; its execution role stays until the task is cleaned up.
func (e *taskEndpoint) Published(s *task.Snapshot) {
	before := e.directory.Task(s.ARN)
	ended := s.State.Known == task.Stopped && (before == nil || before.Snapshot().State.Known != task.Stopped)
	e.directory.Published(s)
	if e.files != nil {
		e.files.Published(s)
	}
	if ended {
		e.roles.RemoveRole(s.ARN, credentials.Application)
		if s.EnableFaultInjection {
			e.faults.Ended(s.ARN)
		}
	}
}

// Gone implements engine.Pictures.
func (e *taskEndpoint) Gone(arn string) {
	e.directory.Gone(arn)
	if e.files != nil {
		e.files.Gone(arn)
	}
}

func (e *taskEndpoint) close() {
	e.stop()
	e.running.Wait()
	e.audit.Close()
	e.closeLog()
}

// serve answers until ctx ends, and tries again where it cannot: tasks depend on it.
func (e *taskEndpoint) serve(ctx context.Context) {
	delay := awsenv.Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.2, Multiplier: 2}
	for {
		l, err := e.listen(ctx)
		if err == nil {
			e.log.Info("task endpoint listens", zap.Stringer("address", l.Addr()))
			err = e.gate.Serve(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		e.log.Warn("task endpoint not served", zap.Error(err))
		if awsenv.Sleep(ctx, delay.Next()) != nil {
			return
		}
	}
}

// listen takes the service manager's socket, which refuses nobody while the agent is
// away, or makes one.
func (e *taskEndpoint) listen(ctx context.Context) (net.Listener, error) {
	for name, f := range e.inherited {
		if strings.HasPrefix(name, inheritedCredentials) {
			continue
		}
		l, err := net.FileListener(f)
		if err != nil {
			continue // no listening socket
		}
		if name == inheritedSocket || samePort(l.Addr().String(), e.address) {
			return l, nil
		}
		_ = l.Close()
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", e.address)
}

func samePort(a, b string) bool {
	_, one, err := net.SplitHostPort(a)
	_, other, err2 := net.SplitHostPort(b)
	return err == nil && err2 == nil && one == other
}
