// Package service is the local ECS itself: clusters, task definitions, container
// instances and tasks, the API that users and agents call, and the decisions
// behind it. Agents are reached through a Dispatcher; the service in turn answers
// what the agent link asks (its Backend interface).
//
//	users ─┐                    ┌────────────── update ──────────────┐
//	       ├─ ServeHTTP ──────▶ │ one lock: check, decide, change    │
//	agents ┘                    └───────────────┬────────────────────┘
//	                                            │ batch, in order
//	                            ┌───────────────▼────────────────────┐
//	                            │ committer: write, deliver, publish │──▶ store, Dispatcher, Watch
//	                            └────────────────────────────────────┘
//
// All state is guarded by one lock, under which nothing waits. What a change
// causes outside (a write, a payload, an event) leaves in a batch, and a single
// goroutine carries the batches out in the order of the changes.
//
// A task moves through these statuses (never backwards):
//
//	PROVISIONING ─▶ PENDING ─▶ ACTIVATING ─▶ RUNNING ─▶ DEACTIVATING ─▶ STOPPING ─▶ DEPROVISIONING ─▶ STOPPED
//	 placed        handed to   the agent     the agent   told to stop    the agent   the agent
//	               the agent   reports       says so                     knows       reports STOPPED
package service
