// Package process starts and stops the agent as a process of this host.
package process
