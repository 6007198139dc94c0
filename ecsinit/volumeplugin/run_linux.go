package volumeplugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"ecsagent/agent/httpserver"
	"ecsagent/ecsinit/staging"
)

// Where the packages have everything (docs/spec/03 section 5.10).
const (
	Socket = "/run/docker/plugins/amazon-ecs-volume-plugin.sock"
	State  = "/var/lib/ecs/data/ecs_volume_plugin.json"
	Folder = "/var/lib/ecs/volumes"
	Log    = "/var/log/ecs/ecs-volume-plugin.log"
)

const (
	// stopGrace is what a request under way gets to end when the plugin is told to.
	stopGrace = 20 * time.Second
	// askLimit bounds the question whether somebody listens on the socket already.
	askLimit = 2 * time.Second
	// headerLimit is what the head of a request may take.
	headerLimit = 10 * time.Second
)

// Options say where a plugin has what. Empty ones are as the packages have it.
type Options struct {
	Socket     string // taken only where the service manager passes none
	State      string
	Folder     string
	Mounter    Mounter       // default: System
	MountLimit time.Duration // default: MountLimit
	// Staging mounts the EBS volumes of tasks.
	Staging staging.Stager
	Log     *zap.Logger
}

func (o Options) withDefaults() Options {
	for value, standard := range map[*string]string{&o.Socket: Socket, &o.State: State, &o.Folder: Folder} {
		if *value == "" {
			*value = standard
		}
	}
	if o.Mounter == nil {
		o.Mounter = System{}
	}
	if o.MountLimit == 0 {
		o.MountLimit = MountLimit
	}
	return o
}

// Run serves Docker until ctx ends. Volumes stay mounted then.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	release, err := claim(o.Folder)
	if err != nil {
		return err
	}
	defer release()
	d, err := newDriver(o.Folder, stateFile(o.State), o.Mounter, o.Log)
	if err != nil {
		return err
	}
	d.stager = o.Staging
	d.stager.Log = o.Log
	l, err := listen(ctx, o.Socket)
	if err != nil {
		return err
	}
	o.Log.Info("volume plugin serves", zap.String("socket", l.Addr().String()), zap.Int("volumes", len(d.names())))
	server := &http.Server{Handler: d.handler(o.MountLimit), ReadHeaderTimeout: headerLimit}
	err = httpserver.Serve(ctx, l, server, stopGrace)
	d.wait(2 * killGrace)
	return err
}

// Preview says what Run would change before it serves, a phrase that begins with a verb for
// each, or why it would not serve.
func Preview(ctx context.Context, o Options) (plan []string, err error) {
	o = o.withDefaults()
	named := filepath.Clean(o.Folder)
	root, err := filepath.EvalSymlinks(named)
	switch {
	case errors.Is(err, os.ErrNotExist):
		root, plan = named, append(plan, "make "+named+", mode 0700")
	case err != nil:
		return nil, fmt.Errorf("find the folder of the volumes: %w", err)
	default:
		release, err := claim(root)
		if err != nil {
			return nil, err
		}
		release()
	}
	volumes, err := stateFile(o.State).load()
	if err != nil {
		return nil, err
	}
	points, err := o.Mounter.Points()
	if err != nil {
		return nil, err
	}
	gone, idle := disagree(volumes, points, named, root)
	for _, name := range gone {
		plan = append(plan, fmt.Sprintf("forget the users of volume %s, which is not mounted any more: %d", name, len(volumes[name].Mounts)))
	}
	for _, name := range idle {
		plan = append(plan, fmt.Sprintf("unmount volume %s, which nobody uses, from %s", name, volumes[name].Path))
	}
	there, err := leftSocket(ctx, o.Socket)
	if err != nil {
		return nil, err
	}
	if there {
		plan = append(plan, "remove the socket of an earlier plugin, "+o.Socket)
	}
	return append(plan, fmt.Sprintf("serve %d volumes on %s", len(volumes), o.Socket)), nil
}

// claim keeps a second plugin from the same volumes, as long as the process lives.
func claim(folder string) (release func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the volumes: %w", err)
	}
	f, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the volumes: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another volume plugin has the volumes of %s", folder)
		}
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return func() { f.Close() }, nil
}

// listen takes the socket that systemd passes, or makes its own.
func listen(ctx context.Context, path string) (net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take the socket of systemd: %w", err)
	}
	switch len(passed) {
	case 0:
	case 1:
		if passed[0] != nil {
			if u, ok := passed[0].(*net.UnixListener); ok {
				u.SetUnlinkOnClose(false) // it is systemd's
			}
			return passed[0], nil
		}
		fallthrough
	default:
		return nil, fmt.Errorf("systemd passes %d sockets: want one stream socket", len(passed))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	if err := clearAway(ctx, path); err != nil {
		return nil, err
	}
	before := unix.Umask(0o117) // 0660; nothing else is made meanwhile
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	unix.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("listen for Docker: %w", err)
	}
	return l, nil
}

// clearAway removes the socket of a plugin that is no more.
func clearAway(ctx context.Context, path string) error {
	there, err := leftSocket(ctx, path)
	if err != nil || !there {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of an earlier plugin: %w", err)
	}
	return nil
}

// leftSocket reports whether a socket is there on which nobody listens. Anything else in its
// place is an error.
func leftSocket(ctx context.Context, path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the socket: %w", err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return false, fmt.Errorf("%s is no socket: move it away", path)
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return false, fmt.Errorf("somebody listens on %s already; a service of systemd is ended with: systemctl stop amazon-ecs-volume-plugin.socket amazon-ecs-volume-plugin", path)
	}
	return true, nil
}
