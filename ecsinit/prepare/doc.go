// Package prepare is what a host needs before the agent starts, and how it is put back
// afterwards (docs/spec/03 sections 5.3, 5.7, 5.8, 5.11.3): folders, no agent of another
// kind in the way, a description of the GPUs, packet rules with the kernel settings and
// the route that belong to them.
package prepare
