// Package report tells ECS what happened to tasks: every state change, in order for
// each task, as often as needed to be sure and no oftener.
//
//	engine -> Observe(snapshot) -> what is new against the last change queued
//	                                  |
//	         container changes wait in the task's partial list
//	                                  |     (for the next task change, or 10 to 30 s)
//	         task changes ------------+--> the task's queue -> at most 10 at a time -> ECS
//	                                                                 |
//	                                          what ECS accepted -> store, engine
//
// The outbox needs no file of its own. The engine makes a task's state durable before
// it is observed, and what ECS has accepted (task.Sent) is made durable after: what is
// owed is always the difference, also after a crash. docs/spec/01 sections 1.9 and 1.10.
package report
