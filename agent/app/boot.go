package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"ecsagent/agent/capability"
	"ecsagent/agent/doctor"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/engine"
	"ecsagent/agent/gpu"
	"ecsagent/agent/hostpath"
	"ecsagent/agent/network"
	"ecsagent/agent/pause"
	"ecsagent/agent/registration"
	"ecsagent/agent/resource/cgroup"
	"ecsagent/agent/resource/connect"
	"ecsagent/agent/runtime"
	"ecsagent/agent/runtime/docker"
	"ecsagent/agent/stats"
	"ecsagent/agent/store"
)

// agent is an agent that is registered and ready to serve.
type agent struct {
	*base
	store     checkpoint
	loaded    *store.Loaded
	docker    *docker.Client
	returned  chan struct{} // Docker was found again
	gpusCame  chan gpu.Info // GPUs that were not there at the start
	api       *ecsapi.Client
	discovery *ecsapi.Discovery
	me        registration.Result
	// ec2InstanceID is empty when there is no EC2 instance, or it cannot be asked.
	ec2InstanceID string
	offered       []capability.Attribute // with the latest registration
	engine        *engine.Engine
	endpoint      *taskEndpoint
	usage         *stats.Collector // nil when metrics are disabled
	cgroups       *cgroup.Manager  // nil: tasks as a whole are not limited
	pause         *pause.Loader    // nil: there is no pause image
	gpus          gpu.Info
	saving        doctor.Store // how saving fares
	health        *health

	volumePlugins []string    // that the survey of the host found
	faultTools    bool        // network faults can be made
	asking        bool        // only what the host could do; nothing is changed
	rolesReached  atomic.Bool // tasks reach the credentials of their roles
	paths         *hostpath.Planner

	connects    bool // tasks can have Service Connect
	connect     *connect.Hook
	network     *offeredNetwork      // nil: no task has a network of its own
	attachments *network.Attachments // interfaces and volumes that were announced
	confirming  sync.WaitGroup       // confirmations of attachments, and renew
	// renew hands credentials that have come to what stands for tasks outside of the agent;
	// nil: nothing does.
	renew func(ctx context.Context, credentialsID string)
}

// boot goes through the steps of docs/spec/01 section 1.3 up to registration.
func boot(ctx context.Context, b *base) (*agent, error) {
	a := &agent{base: b, paths: hostpath.NewPlanner(b.cfg), returned: make(chan struct{}, 1), gpusCame: make(chan gpu.Info)}
	err := a.prepare(ctx)
	if err == nil {
		err = a.register(ctx)
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *agent) prepare(ctx context.Context) (err error) {
	if a.store, a.loaded, err = openCheckpoint(a.cfg, a.log); err != nil {
		return err
	}
	a.store = observedStore{a.store, &a.saving}
	a.usage = a.collector()
	// Containers of the last run ask for credentials whatever else is not ready yet.
	if a.endpoint, err = a.openTaskEndpoint(ctx); err != nil {
		return err
	}
	if err := a.checkCloudInit(ctx); err != nil {
		return err
	}
	if err := a.findGPUs(); err != nil {
		return err
	}
	if err := a.connectDocker(ctx); err != nil {
		return err
	}
	a.endpoint.engine.Store(a.docker)
	if err := a.survey(ctx); err != nil {
		return err
	}
	if err := a.prepareTaskNetwork(ctx); err != nil {
		return err
	}
	a.connects = a.findConnect(ctx)
	if a.api, err = a.ecs(); err != nil {
		return err
	}
	a.discovery = ecsapi.NewDiscovery(a.api, a.log)
	if a.cfg.WarmPoolsCheck && !a.imds.Blackholed() {
		err := registration.WaitInService(ctx, a.imds.TargetLifecycleState, a.log)
		if err != nil && ctx.Err() == nil {
			return terminal(err)
		}
		return err
	}
	return nil
}

func (a *agent) connectDocker(ctx context.Context) (err error) {
	limits := docker.Timeouts{
		Create: a.cfg.ContainerCreateTimeout, Start: a.cfg.ContainerStartTimeout,
		PullInactive: a.cfg.ImagePullInactivityTimeout,
	}
	a.docker, err = docker.New(ctx, docker.Options{Host: a.cfg.DockerEndpoint, Timeouts: limits, Observe: a.dockerObserver(), Returned: a.engineReturned, Log: a.log})
	if errors.Is(err, runtime.ErrInvalid) {
		return terminal(err)
	}
	return err
}

// register presents the instance to ECS, as a new one or as the one it was.
func (a *agent) register(ctx context.Context) error {
	id, err := a.identify(ctx)
	if err != nil {
		return err
	}
	attributes, err := a.attributes(ctx)
	if err != nil {
		return err
	}
	token, err := a.registrationToken(id)
	if err != nil {
		return err
	}
	a.me, err = registration.Register(ctx, a.registrationMeans(), a.offer(id.instanceARN, id.cluster, token, attributes))
	if err != nil {
		return err
	}
	a.offered = attributes
	a.log.Info("registered", zap.String("instance", a.me.InstanceARN), zap.String("cluster", a.me.Cluster),
		zap.Bool("again", id.instanceARN != ""))
	a.endpoint.identified(a.me.Cluster, a.me.InstanceARN, a.me.AvailabilityZone)
	a.endpoint.locate(ctx, a.imds, a.ipv6Only)
	return a.saveIdentity(id)
}

// offer is what the instance presents itself with: as a new one, or as the one of the
// ARN in the cluster it was registered in.
func (a *agent) offer(instanceARN, cluster, token string, attributes []capability.Attribute) registration.Request {
	return registration.Request{
		Cluster: a.cfg.Cluster, InstanceARN: instanceARN, SavedCluster: cluster, Token: token,
		Resources: registration.Resources{
			CPUs: a.host.CPUs, MemoryMiB: a.host.MemoryMiB, ReservedMemoryMiB: int64(a.cfg.ReservedMemory),
			Ports: a.cfg.ReservedPorts, PortsUDP: a.cfg.ReservedPortsUDP,
		},
		GPUs:       a.gpus.GPUIDs,
		Attributes: attributes, Custom: a.cfg.InstanceAttributes, Tags: a.cfg.ContainerInstanceTags,
		NoIdentity: a.cfg.External || a.cfg.NoIID,
	}
}

func (a *agent) registrationMeans() registration.Options {
	o := registration.Options{API: a.api, Identity: a.imds, Credentials: a.credentials, RetryTransient: true, Log: a.log}
	if a.cfg.PropagateTagsFrom == "ec2_instance" && !a.imds.Blackholed() {
		o.InstanceTags = a.ec2Tags
	}
	return o
}

// attributes lists what this host can do with this program, in the order in which
// it is registered.
func (a *agent) attributes(ctx context.Context) ([]capability.Attribute, error) {
	facts := a.facts(ctx)
	if err := capability.Check(facts); err != nil {
		return nil, err
	}
	instance := capability.Instance{
		OSType: a.host.OSType, OSFamily: a.host.OSFamily, OSDetailed: a.cfg.DetailedOSFamily,
		Architecture: architecture(a.host.Arch), External: a.cfg.External,
	}
	if !a.imds.Blackholed() {
		if outpost, err := a.imds.OutpostARN(ctx); err == nil {
			instance.OutpostARN = outpost
		}
	}
	return append(capability.Attributes(facts), capability.InstanceAttributes(instance)...), nil
}

// PrintAttributes is the flag -ecs-attributes: it prints what the host would
// register with and returns the exit code.
func PrintAttributes(ctx context.Context, o Options) int {
	b, err := newBase(ctx, o)
	if err == nil {
		defer b.close()
		a := &agent{base: b, paths: hostpath.NewPlanner(b.cfg), asking: true}
		defer a.close()
		if err = a.findGPUs(); err == nil {
			err = a.connectDocker(ctx)
		}
		if err == nil {
			err = a.survey(ctx)
		}
		if err == nil {
			for _, attribute := range capability.Attributes(a.facts(ctx)) {
				fmt.Fprintf(o.Stdout, "%s\t%s\n", attribute.Name, attribute.Value)
			}
			return ExitOK
		}
	}
	fmt.Fprintln(o.Stderr, "ecs-agent:", err)
	return ExitFailure
}

// close lets go of what boot took hold of, in any state of it.
func (a *agent) close() {
	if a.endpoint != nil {
		a.endpoint.close()
	}
	if a.docker != nil {
		a.docker.Close()
	}
	if a.store != nil {
		if err := a.store.Close(); err != nil {
			a.log.Error("close the state file", zap.Error(err))
		}
	}
}
