// Package introspection serves what the agent knows to people on the host: which
// instance this is, which tasks it has, and the licences (docs/spec/04 chapter 1).
//
// Handlers read the engine's snapshots and take no lock that the engine takes.
package introspection
