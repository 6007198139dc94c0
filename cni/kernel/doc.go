// Package kernel is the network of one namespace as the plugins change it. It speaks
// netlink over a socket that belongs to the namespace, so that no thread of the process
// ever stays in a foreign one.
package kernel
