// Package engine makes the host match what ECS asks for.
//
// Each task has an actor: one goroutine that owns the task's State and reads
// events from an unbounded mailbox, so that no sender ever waits for a task.
//
//	Deliver ─┐                                   ┌─▶ step workers (Docker, images, volumes, hooks)
//	Watch  ──┼─▶ mailbox ─▶ actor ── task.Apply ─┤           │ with deadlines
//	timers ──┘                 ▲     task.Plan   └─▶ saver ──▶ Store, then Reporter
//	                           └──────── answers ◀───────────┘
//
// The actor does no I/O. It applies an event, publishes a snapshot, asks task.Plan
// what may run now and hands that to workers; their answers come back through the
// same mailbox. A snapshot reaches the Reporter only after it is durable.
//
// A write that the disk refuses is tried again while the task goes on; until it is
// taken ECS does not hear of what it says.
//
// Beside its snapshot an actor publishes a story: what happened to the task, bounded,
// and what it waits for. Timeline puts it into words, together with what only all
// tasks together tell, such as who holds a port; it reads published pictures and
// takes no lock.
//
// A task's resources (cgroup, secrets, files) are made by Hooks, one per kind, as steps
// like any other: beside the pulls, before the containers that need them. What they
// give to a container may be secret; it stays with the actor until the container runs
// and is in no State.
//
// What is chosen by chance (names of containers and volumes, endpoint ids) is part
// of the record that Deliver stores before anything is created. What Docker itself
// remembers is not waited for: after a crash it is found by id, name or label.
//
// Reconciliation (start-up, a lost event stream, every few minutes) is one List of
// all containers; only those that differ from what is known are inspected.
//
// It follows docs/spec/02, chapters 2, 8 and 11.
package engine
