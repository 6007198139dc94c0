// Package taskpath keeps the way by which tasks on Docker's network nat reach the agent on
// Windows: the address 169.254.170.2 on the host's adapter of that network, and a proxy of
// its port 80 to the agent (docs/spec/05 section 5.11).
//
// What is missing is a plan, a pure function of what there is; what there is is looked at
// again and again, because Docker makes the adapter anew and Windows forgets the address.
package taskpath
