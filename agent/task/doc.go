// Package task is the domain: what a task is, what is known of it, and what may
// be done next.
//
// A task is two things. A Spec is what ECS asked for: decoded once, validated
// once, never changed. A State is what is known: it is owned by one goroutine, the
// task's actor in package engine, and everybody else sees Snapshots, which are
// never changed after they are published.
//
//	NONE -> MANIFEST_PULLED -> PULLED -> CREATED -> RUNNING -> STOPPED     a container
//	NONE -> MANIFEST_PULLED ----------> CREATED -> RUNNING -> STOPPED     its task: the least of its containers
//
// Deciding is pure: Plan looks at a Spec and a State and returns the steps that
// may run now. The package imports the standard library only and does no I/O.
//
// It follows docs/spec/02, chapters 1 to 3.
package task
