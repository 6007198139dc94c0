// Package keep carries role credentials over a restart of the agent, in memory-backed
// storage only: containers that run on must not notice that the agent was away.
package keep
