// Package gate is the door through which tasks reach the agent (docs/spec/04 chapter
// 2): it serves the listener, refuses foreign host names, tidies paths, limits rates
// and connections, and hands each request to the family of routes that it belongs to.
package gate
