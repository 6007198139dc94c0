package tasknet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"go.uber.org/zap"

	"ecsagent/agent/failpoint"
)

// Deadlines (docs/spec/05 section 4.4), and how often a call is repeated after a failure
// that may pass.
const (
	setUpLimit    = 60 * time.Second
	tearDownLimit = 30 * time.Second
	releaseLimit  = 5 * time.Second
	attempts      = 3
	firstPause    = 100 * time.Millisecond
)

// Options configure a Runner.
type Options struct {
	Plugins string   // directory of the plugins
	Cache   string   // directory of results, the agent's own
	Env     []string // what the plugins are told besides CNI's variables
	Log     *zap.Logger
}

// Runner runs plans. It may be used from any goroutine.
type Runner struct {
	opts Options
	cni  *libcni.CNIConfig

	setUpLimit, tearDownLimit time.Duration
}

// New returns a Runner.
func New(opts Options) *Runner {
	return &Runner{
		opts: opts, cni: libcni.NewCNIConfigWithCacheDir([]string{opts.Plugins}, opts.Cache, &execer{env: opts.Env}),
		setUpLimit: failpoint.Limit("network.set-up", setUpLimit), tearDownLimit: failpoint.Limit("network.tear-down", tearDownLimit),
	}
}

// Pause is the container that has the task's namespace.
type Pause struct {
	ContainerID string
	Namespace   string // its path, /proc/<pid>/ns/net
}

// Result is what a task got.
type Result struct {
	LocalAddress netip.Addr // on the bridge
	Interface    string     // the ENI's name
}

// SetUp runs the plugins. When it fails, what was set up stays for TearDown.
func (r *Runner) SetUp(ctx context.Context, p Plan, pause Pause) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.setUpLimit, fmt.Errorf("task networking was not set up within %s", r.setUpLimit))
	defer cancel()
	out := Result{Interface: ENIName}
	for _, s := range p.Steps {
		got, err := r.add(ctx, s, pause)
		if err != nil {
			return Result{}, fmt.Errorf("add network failed: %w", err)
		}
		if s.Plugin == "ecs-bridge" {
			if out.LocalAddress, err = firstAddress(got); err != nil {
				return Result{}, err
			}
		}
	}
	return out, nil
}

func (r *Runner) add(ctx context.Context, s Step, pause Pause) (got types.Result, err error) {
	conf, err := libcni.NetworkPluginConfFromBytes(s.Config)
	if err != nil {
		return nil, err
	}
	err = r.repeat(ctx, s, "add", pause, func() (err error) {
		got, err = r.cni.AddNetwork(ctx, conf, s.runtime(pause))
		return err
	})
	return got, err
}

// repeat repeats a call that may succeed the next time.
func (r *Runner) repeat(ctx context.Context, s Step, command string, pause Pause, call func() error) error {
	wait := firstPause
	for attempt := 1; ; attempt++ {
		err := s.passing(command, call)
		if err == nil {
			return nil
		}
		err = s.explain(ctx, r.opts.Plugins, err)
		if attempt == attempts || !mayPass(err) {
			return err
		}
		r.opts.Log.Warn("plugin is called again", zap.String("plugin", s.Plugin), zap.String("command", command),
			zap.String("container", pause.ContainerID), zap.Int("attempt", attempt), zap.Error(err))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			wait *= 5
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// passing runs a call of the plugin between its failpoints.
func (s Step) passing(command string, call func() error) error {
	place := command + "-" + s.Plugin
	if err := failpoint.Before("network", place); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return failpoint.After("network", place)
}

func (s Step) runtime(p Pause) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: p.ContainerID, NetNS: p.Namespace, IfName: s.IfName}
}

// mayPass reports whether a plugin asked to be called again, or was killed: it can go on
// from wherever that was.
func mayPass(err error) bool {
	var e *types.Error
	return errors.As(err, &e) && e.Code == types.ErrTryAgainLater || errors.Is(err, errKilled)
}

// explain says what a person needs to know of a failure: the plugin and the cause.
func (s Step) explain(ctx context.Context, dir string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("plugin %s was ended: %w", s.Plugin, context.Cause(ctx))
	}
	path := filepath.Join(dir, s.Plugin)
	if _, e := os.Stat(path); e != nil {
		return fmt.Errorf("plugin %s is missing (ECS_CNI_PLUGINS_PATH): %w", path, e)
	}
	return err
}

func firstAddress(r types.Result) (netip.Addr, error) {
	c, err := current.NewResultFromResult(r)
	if err != nil || len(c.IPs) == 0 {
		return netip.Addr{}, errors.Join(errors.New("empty result from network namespace setup"), err)
	}
	a, _ := netip.AddrFromSlice(c.IPs[0].Address.IP)
	return a.Unmap(), nil
}

// TearDown runs the plugins backwards. It goes on after a failure and returns all of
// them: each plugin has its part of the time, so that one that hangs takes none of the
// others'. The address on the bridge stays the task's until Release.
func (r *Runner) TearDown(ctx context.Context, p Plan, pause Pause) error {
	limit := r.tearDownLimit / time.Duration(max(1, len(p.Steps)))
	one := func(s Step) error {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not take task networking down within %s", limit))
		defer cancel()
		return r.del(ctx, s, s.Delete, pause)
	}
	var all []error
	for _, s := range slices.Backward(p.Steps) {
		if err := one(s); err != nil {
			all = append(all, fmt.Errorf("delete network failed: %w", err))
		}
	}
	return errors.Join(all...)
}

func (r *Runner) del(ctx context.Context, s Step, config []byte, pause Pause) error {
	conf, err := libcni.NetworkPluginConfFromBytes(config)
	if err != nil {
		return err
	}
	return r.repeat(ctx, s, "del", pause, func() error { return r.cni.DelNetwork(ctx, conf, s.runtime(pause)) })
}

// Release gives the task's address on the bridge back, unless it is another pause
// container's by now.
func (r *Runner) Release(ctx context.Context, p Plan, pause Pause) error {
	ctx, cancel := context.WithTimeoutCause(ctx, releaseLimit, fmt.Errorf("the address was not released within %s", releaseLimit))
	defer cancel()
	return r.del(ctx, Step{Plugin: "ecs-ipam", IfName: BridgeEndName}, p.Release, Pause{ContainerID: pause.ContainerID})
}

// Sweep gives back the addresses of tasks that are not known any more: of all but these
// pause containers.
func (r *Runner) Sweep(ctx context.Context, known []string) error {
	_, release, err := bridgeStep("", Settings{})
	if err != nil {
		return err
	}
	var plugin map[string]any
	if err := json.Unmarshal(release, &plugin); err != nil {
		return err
	}
	// The command came with this version.
	const version = "1.1.0"
	plugin["cniVersion"] = version
	list, err := json.Marshal(map[string]any{"cniVersion": version, "name": networkName, "plugins": []any{plugin}})
	if err != nil {
		return err
	}
	conf, err := libcni.NetworkConfFromBytes(list)
	if err != nil {
		return err
	}
	args := &libcni.GCArgs{}
	for _, id := range known {
		for _, name := range []string{ENIName, BridgeEndName, appMeshName, connectName} {
			args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: id, IfName: name})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	if err := r.cni.GCNetworkList(ctx, conf, args); err != nil {
		return fmt.Errorf("release addresses of unknown tasks: %w", err)
	}
	return nil
}
