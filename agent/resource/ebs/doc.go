// Package ebs gives tasks the EBS volumes that ECS attaches to the instance for them
// (docs/spec/02 section 7.11).
//
//	ECS ──announces──▶ attachment records ──▶ Watcher ──stages──▶ volume plugin
//	 ▲                        │                                      │ finds, formats,
//	 └───────ATTACHED─────────┘                                      │ mounts, unmounts
//	ECS ──task──▶ engine ──▶ Hook: staged before containers ─────────┤
//	ECS ◀─STOPPED── Reporter: unstaged before ───────────────────────┘
//
// The agent itself sees neither devices nor the mounts of the host, so it asks the volume
// plugin, whose part of this is in ecsinit/staging.
package ebs
