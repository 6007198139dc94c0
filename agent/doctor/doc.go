// Package doctor examines the container instance and says what is wrong with it.
//
// Each thing that can be wrong is a registered Condition; a Check finds those that hold
// now, with their causes. The doctor examines when ECS asks (its heartbeat, docs/spec/04
// section 9), when a check says that something changed, and by a timer, so that a lost
// connection does not freeze it.
//
//	Check ──▶ Finding{Condition, cause} ──▶ Report ──▶ instance status, /v1/health,
//	                                                   ecs-agent doctor, systemd
package doctor
