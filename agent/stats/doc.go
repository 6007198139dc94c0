// Package stats knows what the containers of tasks use: CPU, memory, block I/O and
// network (docs/spec/04 chapter 8).
//
// One loop reads the counters of all containers, once a second, from where the
// kernel keeps them; no stream of Docker's is held open and no goroutine is spent on
// a container. What it reads goes two ways:
//
//	             ┌─▶ the latest sample of each container ─▶ Stats (the metadata endpoints)
//	Source ─loop─┤
//	             └─▶ statistic sets since the last round ─▶ Round (telemetry)
//
// A reading that cannot be right, such as a counter that went backwards, is dropped
// and never seen by anybody.
package stats
