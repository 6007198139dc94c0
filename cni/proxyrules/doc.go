// Package proxyrules turns the redirections of a service mesh into packet rules of a
// task's namespace (docs/spec/05 sections 4.11 and 4.12).
//
// A Set is a description. It is installed as one nftables table, which comes and goes in
// one step; where the kernel does not take that, as iptables rules.
package proxyrules
