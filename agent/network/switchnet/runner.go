package switchnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Limits and repetitions (docs/spec/05 chapter 0).
const (
	setUpLimit      = 180 * time.Second
	tearDownLimit   = 120 * time.Second
	statusLimit     = time.Minute
	attempts        = 5
	deleteAttempts  = 3
	statusAttempts  = 3 // services that start with the host may come a little later
	administrator   = "ContainerAdministrator"
	tooLongToRepeat = 500
)

func pauses() awsenv.Backoff {
	return awsenv.Backoff{Min: 4 * time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.2}
}

// Containers runs programs in containers.
type Containers interface {
	RunIn(ctx context.Context, id string, command runtime.Command) (runtime.Outcome, error)
}

// Options configure a Runner.
type Options struct {
	Plugins    string // directory of the plugin
	Settings   Settings
	Exec       invoke.Exec
	Containers Containers
	// Servers tells the DNS servers of the host's own interface. A list that cannot be had
	// is empty.
	Servers func() []string
	Log     *zap.Logger
}

// Runner makes the networks of tasks. It may be used from any goroutine.
type Runner struct {
	opts     Options
	deleting chan struct{} // holds one word: networks are taken down one after the other
}

// New returns a Runner.
func New(opts Options) *Runner { return &Runner{opts, make(chan struct{}, 1)} }

// Check says what of a task's network cannot be.
func (r *Runner) Check(spec *task.Spec) error {
	_, err := NewPlan(spec, r.opts.Settings, nil)
	return err
}

// SetUp makes the network of a task in its pause container, and returns the task's address
// on Docker's network. When it fails, what was made stays for TearDown.
func (r *Runner) SetUp(ctx context.Context, spec *task.Spec, pause string) (netip.Addr, error) {
	p, err := NewPlan(spec, r.opts.Settings, r.opts.Servers())
	if err != nil {
		return netip.Addr{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, setUpLimit, fmt.Errorf("task networking was not set up within %s", setUpLimit))
	defer cancel()
	b, err := r.add(ctx, p, pause, "none")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("add network failed: %w", err)
	}
	if err := r.route(ctx, changes(p, pause, b, r.opts.Settings), b, pause); err != nil {
		return netip.Addr{}, fmt.Errorf("routes of the task: %w", err)
	}
	return b.Address.Addr(), nil
}

// Join puts a container that has started into its task's network.
func (r *Runner) Join(ctx context.Context, spec *task.Spec, pause, container string) error {
	p, err := NewPlan(spec, r.opts.Settings, r.opts.Servers())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, setUpLimit, fmt.Errorf("the container did not join the task's network within %s", setUpLimit))
	defer cancel()
	_, err = r.add(ctx, p, container, "container:"+pause)
	return err
}

// add has the plugin give a container both of its adapters, again and again while that
// may help.
func (r *Runner) add(ctx context.Context, p Plan, container, namespace string) (b Bridge, err error) {
	err = r.repeat(ctx, attempts, "add", container, func() error {
		if _, err := r.call(ctx, "ADD", ENIName, container, namespace, p.Task); err != nil {
			return err
		}
		result, err := r.call(ctx, "ADD", bridgeName, container, namespace, p.Bridge)
		if err != nil {
			return err
		}
		b, err = bridgeOf(result)
		return err
	})
	return b, err
}

func bridgeOf(result types.Result) (Bridge, error) {
	c, err := current.NewResultFromResult(result)
	if err != nil || len(c.IPs) == 0 {
		return Bridge{}, errors.Join(errors.New("empty result from network namespace setup"), err)
	}
	ip, ok := netip.AddrFromSlice(c.IPs[0].Address.IP)
	bits, _ := c.IPs[0].Address.Mask.Size()
	if !ok {
		return Bridge{}, fmt.Errorf("result from network namespace setup: %q is no address", c.IPs[0].Address.IP)
	}
	gateway, _ := netip.AddrFromSlice(c.IPs[0].Gateway)
	return Bridge{netip.PrefixFrom(ip.Unmap(), bits), gateway.Unmap()}, nil
}

// call calls the plugin. A command without a result has none.
func (r *Runner) call(ctx context.Context, command, ifName, container, namespace string, conf []byte) (types.Result, error) {
	path, err := r.opts.Exec.FindInPath(pluginName, []string{r.opts.Plugins})
	if err != nil {
		return nil, fmt.Errorf("plugin %s is missing (ECS_CNI_PLUGINS_PATH): %w", pluginName, err)
	}
	args := &invoke.Args{Command: command, ContainerID: container, NetNS: namespace, IfName: ifName, Path: r.opts.Plugins}
	var result types.Result
	if command == "ADD" {
		result, err = invoke.ExecPluginWithResult(ctx, path, conf, args, r.opts.Exec)
	} else {
		err = invoke.ExecPluginWithoutResult(ctx, path, conf, args, r.opts.Exec)
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("plugin %s was ended: %w", pluginName, context.Cause(ctx))
	}
	return result, err
}

// repeat repeats a call that may succeed the next time.
func (r *Runner) repeat(ctx context.Context, times int, command, container string, call func() error) error {
	for attempt, wait := 1, pauses(); ; attempt++ {
		err := call()
		if err == nil || attempt == times || hopeless(err) {
			return err
		}
		r.opts.Log.Warn("plugin is called again", zap.String("plugin", pluginName), zap.String("command", command),
			zap.String("container", container), zap.Int("attempt", attempt), zap.Error(err))
		if awsenv.Sleep(ctx, wait.Next()) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// Unavailable is the code with which the plugin says that this host can have no networks
// of tasks.
const Unavailable = types.ErrPluginNotAvailable // docs/spec/05 section 5.1: the host is too old

// hopeless reports whether the plugin has refused what it was told, or this host.
func hopeless(err error) bool {
	var e *types.Error
	return errors.As(err, &e) && (e.Code == types.ErrInvalidNetworkConfig || e.Code == types.ErrInvalidEnvironmentVariables ||
		e.Code == types.ErrDecodingFailure || e.Code == types.ErrIncompatibleCNIVersion || e.Code == Unavailable)
}

// route makes the changes of the pause container's routes. What counts is the list of
// routes afterwards: netsh fails for a route that is there already, or is not there.
func (r *Runner) route(ctx context.Context, wanted []change, b Bridge, pause string) error {
	var said []string
	for _, c := range wanted {
		out, err := r.opts.Containers.RunIn(ctx, pause, runtime.Command{User: administrator, Args: c.command()})
		if err != nil {
			return fmt.Errorf("%q: %w", c.command(), err)
		}
		if out.ExitCode != 0 {
			said = append(said, fmt.Sprintf("%q ended with %d: %s", c.command(), out.ExitCode, short(out.Output)))
		}
	}
	out, err := r.opts.Containers.RunIn(ctx, pause, runtime.Command{User: administrator, Args: listRoutes})
	if err != nil {
		return fmt.Errorf("%q: %w", listRoutes, err)
	}
	if out.ExitCode != 0 {
		return fmt.Errorf("%q ended with %d: %s", listRoutes, out.ExitCode, short(out.Output))
	}
	if left := undone(wanted, b, routesIn(out.Output)); len(left) > 0 {
		return fmt.Errorf("%v; %s", left, strings.Join(said, "; "))
	}
	return nil
}

func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), tooLongToRepeat)]
}

// TearDown takes the task's network down, once its pause container is about to stop. It goes
// on after a failure and returns all of them.
func (r *Runner) TearDown(ctx context.Context, spec *task.Spec, pause string) error {
	p, err := NewPlan(spec, r.opts.Settings, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tearDownLimit, fmt.Errorf("task networking was not taken down within %s", tearDownLimit))
	defer cancel()
	del := func(ifName string, conf []byte) error {
		return r.repeat(ctx, deleteAttempts, "del", pause, func() error {
			select {
			case r.deleting <- struct{}{}:
				defer func() { <-r.deleting }()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			_, err := r.call(ctx, "DEL", ifName, pause, "none", conf)
			return err
		})
	}
	var all []error
	for _, err := range []error{del(bridgeName, p.Bridge), del(ENIName, p.Task)} {
		if err != nil {
			all = append(all, fmt.Errorf("delete network failed: %w", err))
		}
	}
	return errors.Join(all...)
}

// Status says why tasks cannot have networks on this host now. It is patient.
func (r *Runner) Status(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, statusLimit, fmt.Errorf("no answer within %s", statusLimit))
	defer cancel()
	return r.repeat(ctx, statusAttempts, "status", "", func() error { return r.Answers(ctx) })
}

// Answers is Status without patience: it asks once, and ends with its context.
func (r *Runner) Answers(ctx context.Context) error {
	conf, err := sweepConf(bridgeName, nil)
	if err == nil {
		_, err = r.call(ctx, "STATUS", "", "", "", conf)
	}
	return err
}

// Sweep deletes what is left of the networks of tasks whose pause container is none of
// these.
func (r *Runner) Sweep(ctx context.Context, pauses []string) error {
	valid := make([]types.GCAttachment, 0, 2*len(pauses))
	for _, id := range pauses {
		valid = append(valid, types.GCAttachment{ContainerID: id, IfName: ENIName}, types.GCAttachment{ContainerID: id, IfName: bridgeName})
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tearDownLimit, fmt.Errorf("not swept within %s", tearDownLimit))
	defer cancel()
	var all []error
	for _, name := range []string{taskName, bridgeName} {
		conf, err := sweepConf(name, valid)
		if err == nil {
			_, err = r.call(ctx, "GC", "", "", "", conf)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}
