package app

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"ecsagent/agent/network"
)

// watchENIs tells the attachment records of the elastic network interfaces that the
// host has (docs/spec/05 section 2.6).
func (a *agent) watchENIs(attachments *network.Attachments, links network.Links) part {
	return part{"network interfaces", func(ctx context.Context) error {
		w := network.Watcher{
			Links: links, Devices: attachments, Log: a.log,
			Filter: network.Filter{Primary: a.primaryMAC(ctx), Test: testLinks(a.cfg.TestENILinks, a.cfg.APIEndpoint, a.log)},
		}
		return w.Run(ctx)
	}}
}

// primaryMAC is the address of the instance's own interface. Without it that interface
// is looked at too, which no attachment will ever name.
func (a *agent) primaryMAC(ctx context.Context) net.HardwareAddr {
	if a.cfg.External || a.imds.Blackholed() {
		return nil
	}
	vpc, err := a.imds.VPC(ctx)
	if vpc.MAC != "" {
		var mac net.HardwareAddr
		if mac, err = net.ParseMAC(vpc.MAC); err == nil {
			return mac
		}
	}
	if ctx.Err() == nil {
		a.log.Warn("MAC address of the primary network interface not known", zap.Error(err))
	}
	return nil
}

// testLinks lets other links play elastic network interfaces where the ECS that the
// agent talks to is a stand-in on this machine, and nowhere else (docs/spec/05 section
// 7.2).
func testLinks(setting, endpoint string, log *zap.Logger) network.TestLinks {
	if setting == "" {
		return network.TestLinks{}
	}
	if !onThisMachine(endpoint) {
		log.Warn("setting ignored: it is for a local ECS", zap.String("setting", "ECS_TEST_ENI_LINKS"), zap.String("endpoint", endpoint))
		return network.TestLinks{}
	}
	test, err := network.ParseTestLinks(setting)
	if err != nil {
		log.Warn("setting ignored", zap.Error(err))
	}
	return test
}

// onThisMachine reports whether an endpoint is a loopback address or localhost.
func onThisMachine(endpoint string) bool {
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
}
