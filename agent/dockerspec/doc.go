// Package dockerspec maps a container of a task to the request that creates it
// (docs/spec/02 chapter 4).
//
// The mapping is pure: what it needs to know of the host is in an Env, what was
// decided before is in the task's State. ECS renders most options itself, as JSON
// in the shapes of Docker's API; they are decoded on top of the fields that the
// agent fills in, and the agent's overrides come last.
package dockerspec
