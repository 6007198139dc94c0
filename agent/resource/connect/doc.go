// Package connect gives Service Connect proxies what they need of the host
// (docs/spec/05 chapter 6): folders for their sockets and logs, variables, and the relay,
// a container of the agent's that their connections to the control plane go through.
//
//	RUNDIR/service_connect
//	├ <task id>/appnet_admin.sock   the proxy listens, the agent asks it to drain
//	└ relay/envoy_xds.sock          the relay listens, all proxies connect
package connect
