// Package hostrules gives 169.254.170.2 its path to the agent and guards that path.
//
// A Plan is a pure function of Options: packet rules, kernel settings and a route, in
// the order of docs/spec/03 section 5.7. A Runner compares a plan with the kernel and
// makes the kernel agree; there is one for nftables, over netlink, and one for
// iptables. A Keeper does it again whenever somebody else undid it.
//
//	Options ──Build──▶ Plan ──▶ Runner ──▶ kernel
//	                     ▲        │
//	                     └ Keeper ◀── Watch: netlink events, a slow check
//
// With iptables the rules stand in the host's own chains and read exactly as the
// official supervisor writes them, because people audit them there. With nftables they
// stand in tables of their own, named "ecs-agent"; since one table's accept does not
// overrule another's drop, what must be accepted is accepted in other tables' input
// chains too, where those drop.
package hostrules
