// Package fault disturbs the network of a task on its own request: a port that swallows
// packets, latency, packet loss (docs/spec/04 chapter 5).
//
// What is asked for becomes commands, decided here and tested here; who runs them in a
// task's network namespace stands behind an interface. Faults are remembered, and taken
// away when their task ends and when the agent starts.
package fault
