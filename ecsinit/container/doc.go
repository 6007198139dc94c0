// Package container runs the agent as a container, for hosts whose operator wants no other
// programs on them (docs/spec/03 section 5.6). ecs-init stays while the container runs:
//
//	systemd ◀──READY, STATUS, WATCHDOG── ecs-init ◀──socket── agent
//	systemd ──SIGTERM──▶ ecs-init ──stop──▶ agent ──exit code──▶ ecs-init ──▶ systemd
//
// so that readiness, watchdog and exit codes are those of the agent. Everything the agent
// knows by a path has the same path in the container.
package container
