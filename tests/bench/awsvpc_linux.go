package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/google/uuid"
	"github.com/vishvananda/netns"

	pauseimage "ecsagent/agent/pause"
	"ecsagent/cni/kernel"
	"ecsagent/controlplane/vpc"
	"ecsagent/controlplane/wire"
	"ecsagent/tests/harness"
	"ecsagent/tests/proxy"
)

// network is a host of its own for an agent, in a namespace, and a VPC beside it.
type network struct {
	*vpc.VPC
	host  string // path of the namespace
	space *kernel.Space
	next  netip.Addr
	end   []func() error
}

// newNetwork makes both. What was made until a failure is taken back by close, too.
func (b *bench) newNetwork() (n *network, err error) {
	name := "ecs-bench-" + uuid.NewString()[:8]
	n = &network{host: "/run/netns/" + name + "-host"}
	if err := newSpace(name + "-host"); err != nil {
		return n, err
	}
	n.end = append(n.end, func() error { return netns.DeleteNamed(name + "-host") })
	if n.space, err = kernel.Open(n.host); err != nil {
		return n, err
	}
	n.end = append(n.end, func() error { n.space.Close(); return nil })
	lo, err := n.space.ByName("lo")
	if err == nil {
		err = n.space.LinkSetUp(lo)
	}
	if err != nil {
		return n, err
	}
	subnet := netip.MustParsePrefix("10.20.0.1/16")
	n.next = subnet.Addr()
	n.VPC, err = vpc.Open(b.ctx, vpc.Options{Name: name, Host: n.host, Subnet: subnet})
	if err == nil {
		n.end = append(n.end, n.VPC.Close)
	}
	return n, err
}

// newSpace makes a named network namespace.
func newSpace(name string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the namespace
		ns, err := netns.NewNamed(name)
		if err == nil {
			err = ns.Close()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	return nil
}

func (n *network) close() (err error) {
	for i := len(n.end) - 1; i >= 0; i-- {
		err = errors.Join(err, n.end[i]())
	}
	return err
}

// attach makes an interface that is there before its task.
func (n *network) attach() (wire.NetworkInterface, error) {
	n.next = n.next.Next()
	a := n.next.As4()
	i := wire.NetworkInterface{
		EC2ID: "eni-bench", MAC: fmt.Sprintf("06:ec:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3]),
		IPv4: []wire.IPv4Address{{Primary: true, Address: n.next.String()}}, Gateway: n.Subnet().String(),
	}
	return i, n.Attach(i)
}

// vpcRig prepares an agent whose tasks have interfaces in the network.
func (b *bench) vpcRig(n *network) (*rig, *proxy.TCP, error) {
	r, err := b.newRig(false)
	if err != nil {
		return nil, nil, err
	}
	plugins := filepath.Join(r.Dir, "cni")
	if out, err := exec.CommandContext(b.ctx, filepath.Join(b.programs, "ecs-cni"), "install", plugins).CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("install the plugins: %w\n%s", err, out)
	}
	// Without instance metadata there is no identity document either.
	config, err := json.Marshal(map[string]any{"NoIID": true, "PauseContainerTarballPath": filepath.Join(b.programs, harness.PauseArchive)})
	if err == nil {
		err = os.WriteFile(filepath.Join(r.Dir, "ecs.config.json"), config, 0o600)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("write the agent's configuration: %w", err)
	}
	r.Space = n.host
	r.Options.Agent = append(r.Options.Agent, "ECS_EXTERNAL=false", "AWS_EC2_METADATA_DISABLED=true", "ECS_CNI_PLUGINS_PATH="+plugins)
	// The control plane is where it is outside.
	var door *proxy.TCP
	err = n.space.Do(func() (err error) {
		door, err = proxy.ListenTCP(r.Plane.Address(), "tcp", r.Plane.Address())
		return err
	})
	return r, door, err
}

// awsvpc measures launches of tasks of network mode awsvpc whose interfaces are there.
// Their floor has a container that holds the network, and one that joins it.
func (b *bench) awsvpc() (err error) {
	if os.Geteuid() != 0 {
		b.table.note("Tasks of network mode awsvpc: not measured, that needs root.")
		return nil
	}
	n, err := b.newNetwork()
	defer func() { err = errors.Join(err, n.close()) }()
	if err != nil {
		return err
	}
	r, door, err := b.vpcRig(n)
	if err != nil {
		return err
	}
	defer door.Close()
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.start(b.ctx); err != nil {
		return err
	}
	for _, count := range []int{1, 20} {
		rounds := b.rounds
		if count > 1 {
			rounds = max(3, b.rounds/3)
		}
		var floor, launch []time.Duration
		for round := range rounds + 1 {
			f, err := b.plainJoined(count)
			if err != nil {
				return fmt.Errorf("plain client, %d at once: %w", count, err)
			}
			l, err := b.vpcRound(r, n, count)
			if err != nil {
				return fmt.Errorf("agent, %d awsvpc tasks at once: %w", count, err)
			}
			if round > 0 { // the first warms
				floor, launch = append(floor, f), append(launch, l)
			}
		}
		f, l := ms(median(floor)), ms(median(launch))
		if count == 1 {
			b.table.add(row{what: "one awsvpc task, payload to RUNNING (floor: pause and container)", unit: "ms", floor: f, agent: l, goal: "≤ floor + 60 ms", met: l-f <= 60})
			continue
		}
		b.table.add(row{what: fmt.Sprintf("%d awsvpc tasks at once", count), unit: "ms", floor: f, agent: l, goal: "≤ 1.2x", met: l <= 1.2*f})
	}
	return nil
}

// plainJoined launches n pairs of containers at once, the second in the network of the
// first, and removes them.
func (b *bench) plainJoined(n int) (time.Duration, error) {
	ids, errs := make([]string, 2*n), make([]error, n)
	launch := func(config *container.Config, mode string) (string, error) {
		made, err := b.docker.ContainerCreate(b.ctx, config, &container.HostConfig{NetworkMode: container.NetworkMode(mode)}, nil, nil, "")
		if err == nil {
			err = b.docker.ContainerStart(b.ctx, made.ID, container.StartOptions{})
		}
		if err == nil {
			_, err = b.docker.ContainerInspect(b.ctx, made.ID)
		}
		return made.ID, err
	}
	begin := time.Now()
	each(n, func(i int) {
		if ids[2*i], errs[i] = launch(&container.Config{Image: pauseimage.Image}, "none"); errs[i] == nil {
			ids[2*i+1], errs[i] = launch(&container.Config{Image: b.ref}, "container:"+ids[2*i])
		}
	})
	took := time.Since(begin)
	return took, errors.Join(first(errs), b.remove(ids))
}

// vpcRound launches n tasks at once, and stops and removes them.
func (b *bench) vpcRound(r *rig, n *network, count int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	var run, stop []any
	var ids, macs []string
	for i := range count {
		eni, err := n.attach()
		if err != nil {
			return 0, err
		}
		id := fmt.Sprintf("v%d-%d", time.Now().UnixNano(), i)
		ids, macs = append(ids, id), append(macs, eni.MAC)
		of := func(status string) map[string]any {
			t := b.task(r, id, status)
			t["networkMode"], t["elasticNetworkInterfaces"] = "awsvpc", []any{eni}
			return t
		}
		run, stop = append(run, of("RUNNING")), append(stop, of("STOPPED"))
	}
	took, err := b.reach(ctx, r, run, ids, "RUNNING")
	if err != nil {
		return 0, err
	}
	if _, err := b.reach(ctx, r, stop, ids, "STOPPED"); err != nil {
		return 0, err
	}
	var containers []string
	for i, id := range ids {
		if err := n.Detach(macs[i]); err != nil {
			return 0, err
		}
		for _, c := range r.Changes(r.TaskARN(id)) {
			for _, k := range c.Containers {
				if k.Reason != "" {
					return 0, fmt.Errorf("task %s: %s", id, k.Reason)
				}
			}
		}
		list, err := b.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", harness.LabelTaskARN+"="+r.TaskARN(id)))})
		if err != nil {
			return 0, fmt.Errorf("list containers: %w", err)
		}
		for _, c := range list {
			containers = append(containers, c.ID)
		}
	}
	return took, b.remove(containers)
}
