package app

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine"
	"ecsagent/agent/network/tasknet"
	"ecsagent/agent/task"
)

// connectPlugin redirects to Service Connect proxies.
const connectPlugin = "ecs-serviceconnect"

// connectNetwork leads containers of mode bridge to their Service Connect proxy, through
// the CNI plugin.
type connectNetwork struct{ runner *tasknet.Runner }

var _ engine.ConnectNetwork = connectNetwork{}

// connectNetworkOf is nil where there is no Service Connect.
func (a *agent) connectNetworkOf() engine.ConnectNetwork {
	if a.host.OSType != "linux" {
		return nil
	}
	return connectNetwork{tasknet.New(tasknet.Options{
		Plugins: a.cfg.CNIPluginsPath, Cache: filepath.Join(a.cfg.DataDir, "cni"), Log: a.log,
	})}
}

// SetUp implements engine.ConnectNetwork.
func (n connectNetwork) SetUp(ctx context.Context, s *task.Snapshot, pause, pid int) error {
	v4, v6 := proxyAddresses(s)
	if !v4.IsValid() && !v6.IsValid() {
		return errors.New("failed to resolve container IP for SC bridge mode pause container")
	}
	p, err := tasknet.NewBridgedPlan(s.Connect, isProxyPause(s, pause), v4, v6)
	if err != nil {
		return err
	}
	_, err = n.runner.SetUp(ctx, p, namespace(s.State.Containers[pause].RuntimeID, pid))
	return err
}

// TearDown implements engine.ConnectNetwork. When the proxy's pause container has ended
// its addresses are not known any more, and do not matter.
func (n connectNetwork) TearDown(ctx context.Context, s *task.Snapshot, pause, pid int) error {
	v4, v6 := proxyAddresses(s)
	if !v4.IsValid() && !v6.IsValid() {
		v4, v6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	}
	p, err := tasknet.NewBridgedPlan(s.Connect, isProxyPause(s, pause), v4, v6)
	if err != nil {
		return err
	}
	return n.runner.TearDown(ctx, p, namespace(s.State.Containers[pause].RuntimeID, pid))
}

func isProxyPause(s *task.Snapshot, pause int) bool {
	return s.Containers[pause].Name == task.ConnectPauseName(s.Connect.Container)
}

// proxyAddresses are those of the proxy's pause container on Docker's bridge.
func proxyAddresses(s *task.Snapshot) (v4, v6 netip.Addr) {
	i := s.Index(task.ConnectPauseName(s.Connect.Container))
	if i < 0 {
		return v4, v6
	}
	text4, text6 := dockerspec.BridgeAddresses(s.State.Containers[i].Networks)
	v4, _ = netip.ParseAddr(text4)
	v6, _ = netip.ParseAddr(text6)
	return v4, v6
}

// findConnect finds out whether tasks can have Service Connect: its image is there, the
// pause image, and the plugin. A host without the archive of the image does nothing for it.
func (a *agent) findConnect(ctx context.Context) (offered bool) {
	if a.host.OSType != "linux" || a.cfg.External {
		return false
	}
	loader := a.connectLoader()
	if _, err := os.Stat(loader.Archive); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	err := loader.Check()
	if err == nil && a.pause == nil {
		err = errors.New("the pause image is not loaded")
	}
	if err == nil {
		_, err = tasknet.Verify(ctx, a.cfg.CNIPluginsPath, connectPlugin)
	}
	if err != nil {
		a.log.Warn("tasks with Service Connect are not offered", zap.Error(err))
	}
	return err == nil
}
