package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// Paths inside of proxies and the relay.
const (
	insideRun   = "/var/run/ecs/"
	insideRelay = insideRun + "relay/"
	insideLog   = "/var/log/"
	adminSocket = "appnet_admin.sock"
	relaySocket = "envoy_xds.sock"
)

// relayFolder has a name that no task id has.
const relayFolder = "relay"

// Options are the parts and settings of a Hook. Without Image it can only tell what would
// be made.
type Options struct {
	Dir         string // RUNDIR/service_connect, of the agent and of the Docker daemon
	LogDir      string // below which proxies write their logs, one folder for each task
	InstanceARN string
	Isolated    bool // the region is in a partition whose certificates are the host's
	FIPS        bool
	Image       func(context.Context) error // makes task.ConnectImage be in Docker
	Relay       *Relay
	Log         *zap.Logger
}

// Hook implements engine.Hook and engine.Drainer.
type Hook struct {
	opts Options
	// turn is held while folders and the relay are looked at together: the relay goes
	// with the last task that has a folder.
	turn sync.Mutex
}

// New makes a Hook. It touches nothing.
func New(o Options) *Hook {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Hook{opts: o}
}

// Kind implements engine.Hook.
func (*Hook) Kind() string { return "service-connect" }

// Needs implements engine.Hook.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	if spec.Connect == nil {
		return nil, nil
	}
	if !resource.IsElement(spec.ID()) || spec.ID() == relayFolder {
		return nil, fmt.Errorf("Service Connect: task id %q cannot name a folder", spec.ID()) //nolint:staticcheck // a name
	}
	return []task.Resource{{
		Name: h.Kind(), Text: "Service Connect proxy", Containers: []string{spec.Connect.Container}, Before: task.ContainerCreated,
	}}, nil
}

// Preview implements engine.Hook.
func (h *Hook) Preview(spec *task.Spec, _ *task.Resource) resource.Provided { return h.give(spec) }

// give is what a proxy gets (docs/spec/05 section 6.4).
func (h *Hook) give(spec *task.Spec) resource.Provided {
	in := dockerspec.Inputs{
		Binds: []string{
			filepath.Join(h.opts.Dir, spec.ID()) + ":" + insideRun,
			filepath.Join(h.opts.Dir, relayFolder) + ":" + insideRelay,
		},
		Variables: map[string]string{
			"APPMESH_XDS_ENDPOINT":          "unix://" + insideRelay + relaySocket,
			"APPNET_AGENT_ADMIN_UDS_PATH":   insideRun + adminSocket,
			"APPNET_AGENT_ADMIN_MODE":       "uds",
			"ENVOY_ENABLE_IAM_AUTH_FOR_XDS": "0",
			"ECS_CONTAINER_INSTANCE_ARN":    h.opts.InstanceARN,
		},
	}
	h.common(&in.Binds, in.Variables)
	c := spec.Connect
	if len(c.Chosen) > 0 {
		in.Variables["APPNET_LISTENER_PORT_MAPPING"] = text(c.Chosen)
	}
	if h.logs(spec) {
		in.Binds = append(in.Binds, filepath.Join(h.opts.LogDir, spec.ID())+":"+insideLog)
		in.Variables["APPNET_ENVOY_LOG_DESTINATION"] = insideLog
	}
	if len(spec.ENIs) > 0 && len(spec.ENIs[0].IPv4) == 0 {
		loopback := make(map[string]string)
		for i := range spec.Containers {
			if !spec.Containers[i].Internal() {
				loopback[spec.Containers[i].Name] = "::1"
			}
		}
		in.Variables["APPNET_CONTAINER_IP_MAPPING"] = text(loopback)
	}
	return resource.Provided{Shared: in}
}

// common is what proxies and the relay get alike.
func (o *Options) common(binds *[]string, variables map[string]string) {
	if o.Isolated {
		*binds = append(*binds, "/etc/pki:/etc/pki")
	}
	if o.FIPS {
		variables["APPNET_FIPS_MODE_ENABLED"] = "true"
	}
}

func (h *Hook) common(binds *[]string, variables map[string]string) { h.opts.common(binds, variables) }

// logs reports whether the proxy writes its log into a folder: it has no log driver.
func (h *Hook) logs(spec *task.Spec) bool {
	i := spec.Index(spec.Connect.Container)
	return i >= 0 && spec.Containers[i].LogConfig().Type == ""
}

func text(v any) string {
	b, _ := json.Marshal(v) // maps of texts and numbers always have a form
	return string(b)
}

// Provision implements engine.Hook.
func (h *Hook) Provision(ctx context.Context, s *task.Snapshot, _ *task.Resource) (resource.Provided, error) {
	if h.opts.Image == nil {
		return resource.Provided{}, errors.New("Service Connect is not offered on this container instance: it has no " + task.ConnectImage) //nolint:staticcheck // a name
	}
	h.turn.Lock()
	defer h.turn.Unlock()
	if err := h.opts.Image(ctx); err != nil {
		return resource.Provided{}, fmt.Errorf("image of the Service Connect proxy: %w", err)
	}
	folders := []string{filepath.Join(h.opts.Dir, s.ID()), filepath.Join(h.opts.Dir, relayFolder), filepath.Join(h.opts.LogDir, relayFolder)}
	if h.logs(s.Spec) {
		folders = append(folders, filepath.Join(h.opts.LogDir, s.ID()))
	}
	for _, folder := range folders {
		if err := ownFolder(folder); err != nil {
			return resource.Provided{}, fmt.Errorf("folder of the Service Connect proxy: %w", err)
		}
	}
	if err := h.opts.Relay.ensure(ctx, &h.opts); err != nil {
		return resource.Provided{}, fmt.Errorf("Service Connect relay: %w", err) //nolint:staticcheck // a name
	}
	return h.give(s.Spec), nil
}

// ownFolder makes a folder that is the proxies' user's alone.
func ownFolder(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the proxies' user passes through it
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chown(path, task.ConnectUser, os.Getegid())
}

// CleanUp implements engine.Hook. Logs stay.
func (h *Hook) CleanUp(ctx context.Context, s *task.Snapshot, _ *task.Resource, _ map[string]string) error {
	h.turn.Lock()
	defer h.turn.Unlock()
	if err := os.RemoveAll(filepath.Join(h.opts.Dir, s.ID())); err != nil {
		return err
	}
	return h.rest(ctx)
}

// Sweep implements engine.Sweeper.
func (h *Hook) Sweep(ctx context.Context, known func(taskID string) bool) error {
	h.turn.Lock()
	defer h.turn.Unlock()
	entries, err := os.ReadDir(h.opts.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the host started anew; Docker may have started the relay with it
	}
	for _, e := range entries {
		if e.Name() != relayFolder && !known(e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.opts.Dir, e.Name())))
		}
	}
	return errors.Join(err, h.rest(ctx))
}

// rest ends the relay when no task is left.
func (h *Hook) rest(ctx context.Context) error {
	entries, err := os.ReadDir(h.opts.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() != relayFolder {
			return nil
		}
	}
	if h.opts.Relay != nil {
		if err := h.opts.Relay.end(ctx); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(h.opts.Dir, relayFolder))
}

// Limits of a request to drain (docs/spec/05 section 6.8).
const (
	drainAttempts = 3
	drainPause    = time.Second
	dialLimit     = 2 * time.Second
	askLimit      = 5 * time.Second
)

// Drain implements engine.Drainer: the proxy takes no more connections from outside.
func (h *Hook) Drain(ctx context.Context, s *task.Snapshot, _ *task.Resource) error {
	i := s.Index(s.Connect.Container)
	if i < 0 || !s.State.Containers[i].Known.IsRunning() {
		return nil // it has none
	}
	for attempt := 1; ; attempt++ {
		err := h.ask(ctx, s.ID(), "/drain_listeners?inboundonly", nil)
		if err == nil || attempt == drainAttempts {
			return err
		}
		timer := time.NewTimer(drainPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// Metrics are what the proxy of a task has counted since it was asked last (docs/spec/05
// section 6.8).
func (h *Hook) Metrics(ctx context.Context, s *task.Snapshot) (groups []stats.ConnectGroup, err error) {
	err = h.ask(ctx, s.ID(), "/stats/prometheus?usedonly&filter=metrics_extension&delta", func(body io.Reader) (err error) {
		const most = 16 << 20
		limited := &io.LimitedReader{R: body, N: most}
		groups, err = stats.ReadConnect(limited)
		if err == nil && limited.N == 0 {
			err = fmt.Errorf("its metrics are longer than %d bytes", most)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return groups, nil
}

// ask sends a request to a proxy, and has its answer read.
func (h *Hook) ask(ctx context.Context, id, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	socket := filepath.Join(h.opts.Dir, id, adminSocket)
	dialer := net.Dialer{Timeout: dialLimit}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", socket)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the Service Connect proxy: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the Service Connect proxy: %s answers with status %d", path, answer.StatusCode)
	}
	if read == nil {
		return nil
	}
	if err := read(answer.Body); err != nil {
		return fmt.Errorf("ask the Service Connect proxy: %s: %w", path, err)
	}
	return nil
}

// user is the proxies' and the relay's.
var user = strconv.Itoa(task.ConnectUser)
