package app

import (
	"math/rand/v2"
	"os"

	"github.com/docker/docker/api/types/versions"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/credentials"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/engine"
	"ecsagent/agent/hostport"
	"ecsagent/agent/platform"
	"ecsagent/agent/task"
)

// ecsapiOnce makes a submission one attempt: the reporter itself repeats it.
var ecsapiOnce = ecsapi.Attempts(1)

type sentRecord = task.Sent

func (a *agent) engineOptions(roles *credentials.Store, images *images, reporter engine.Reporter, forget func(arn string)) (engine.Options, error) {
	pull, err := task.ParsePullBehavior(a.cfg.ImagePullBehavior)
	if err != nil {
		return engine.Options{}, err
	}
	cfg := a.cfg
	ports := hostport.New(hostport.Options{
		Range: hostport.Range{First: cfg.DynamicHostPortRange.First, Last: cfg.DynamicHostPortRange.Last},
		Reserved: map[task.Protocol][]uint16{
			task.TCP: cfg.ReservedPorts, task.UDP: cfg.ReservedPortsUDP,
		},
	})
	options := engine.Options{
		Pause: a.pauseOf(), LoadPause: a.loadPause,
		Store: forgettingStore{a.store, forget}, Reporter: reporter, Runtime: a.runtime(),
		Images: images, HostPorts: ports, Builder: a.builder(roles), Credentials: known{roles}, Pictures: pictures{a.endpoint, a.usage}, Hooks: a.hooks(roles), Log: a.log,
		Restored: a.loaded.Tasks, Sequence: a.loaded.Seq,
		Leftovers: a.leftovers(), LateVolumes: lateVolumes{a.store, a.loaded.Meta},
		Capacity: engine.Capacity{
			CPU: int64(a.host.CPUs) * 1024, Memory: a.host.MemoryMiB - int64(cfg.ReservedMemory),
			GPUs:        a.gpus.GPUIDs,
			ReservedTCP: cfg.ReservedPorts, ReservedUDP: cfg.ReservedPortsUDP,
		},
		Execs: a.docker,
		Pull:  pull, PullUpfront: cfg.DependentContainersPullUpfront, StopTimeout: cfg.ContainerStopTimeout,
		CleanupWait: cfg.TaskCleanupWait, CleanupJitter: cfg.TaskCleanupWaitJitter,
		Started:            a.started(),
		MatchSharedVolumes: cfg.SharedVolumeMatchFullConfig, GPUSupport: cfg.GPUSupport,
	}
	if a.network != nil {
		options.Network = a.network.Network
	}
	if n := a.connectNetworkOf(); n != nil {
		options.Connect = n
	}
	return options, nil
}

// Mapping is what the mapping of containers to Docker takes from the settings and the
// host; os is the containers' operating system.
func Mapping(cfg *config.Config, host platform.Host, os, cluster string) dockerspec.Env {
	env := dockerspec.Env{
		OS: os, CPUs: host.CPUs, Cluster: cluster, Region: cfg.Region,
		TaskMemory:   cfg.PropagateTaskMemoryLimit && host.CgroupVersion == 2,
		CPUUnbounded: cfg.CPUUnboundedWindowsWorkaround, MemoryUnbounded: cfg.MemoryUnboundedWindowsWorkaround,
		DisablePrivileged: cfg.PrivilegedDisabled,
		LogsEndpoint:      logsEndpoint,
		IPv6Only:          host.IP.IPv6Only(cfg.InstanceIPFamily),
		GPU:               dockerspec.GPU{Enabled: cfg.GPUSupport, Runtime: cfg.NvidiaRuntime, External: cfg.External},
		Inferentia:        cfg.InferentiaSupport,
		EFS:               dockerspec.EFS{Plugin: efsByPlugin(cfg), Address: efsAddress(cfg.Region)},
	}
	if os == "linux" {
		env.FireLens = dockerspec.FireLens{Dir: hostDir(cfg, fireLensFolder), Async: cfg.FirelensAsync}
	}
	return env
}

func (a *agent) builder(roles *credentials.Store) *dockerspec.Builder {
	v := a.docker.Version()
	env := Mapping(a.cfg, a.host, v.OS, a.me.Cluster)
	env.KnowsCredentials = known{roles}.Has
	env.EFS.Plugin = len(a.pluginCapabilities()) > 0 && efsByPlugin(a.cfg)
	env.OldEngine = v.Server != "" && versions.LessThan(v.Server, "18.09.0")
	env.FireLens.OldEngine = v.Server != "" && versions.LessThan(v.Server, "20.10.0")
	return dockerspec.New(env, rand.Uint64)
}

// known tells whether credentials have arrived.
type known struct{ roles *credentials.Store }

// Has implements engine.Credentials.
func (k known) Has(id string) bool {
	_, ok := k.roles.Get(id)
	return ok
}

// forgettingStore makes the other parts forget a task together with its record.
type forgettingStore struct {
	checkpoint
	forget func(arn string)
}

func (s forgettingStore) DeleteTask(arn string) error {
	s.forget(arn)
	return s.checkpoint.DeleteTask(arn)
}

// logsEndpoint is the endpoint of CloudWatch Logs in a region (docs/spec/02 section
// 4.5).
func logsEndpoint(region string, dualStack bool) (string, error) {
	return awsenv.Endpoint(awsenv.EndpointOptions{Service: "logs", Region: region, IPv6Only: dualStack, Getenv: os.Getenv})
}
