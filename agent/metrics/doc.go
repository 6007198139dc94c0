// Package metrics tells Prometheus how the agent fares.
//
// What happens is counted as it happens; what is, tasks for example, is read from the
// other parts when Prometheus asks. No label has values that tasks or users choose, so
// the number of series is bounded. Off, a nil Meter, it costs nothing.
package metrics
