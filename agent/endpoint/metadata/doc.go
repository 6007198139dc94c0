// Package metadata tells tasks about themselves: the task metadata endpoint in its
// versions 2, 3 and 4 (docs/spec/04 chapter 3).
//
// Answers come from pictures of tasks, encoded once for each picture; no lock is taken
// that the engine takes. A container is known from the moment its id is chosen: a
// request that comes while it is being started waits until Docker has shown it.
package metadata
