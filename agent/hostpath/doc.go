// Package hostpath turns settings and the host's network into a plan of packet rules.
package hostpath
