// Package service is the agent as a Windows service: how it answers the service control
// manager, and how it is installed and removed (docs/spec/03 section 6.6).
//
//	          started            stop, shutdown, preshutdown        agent ended
//	StartPending ──▶ Running ───────────────────────▶ StopPending ──▶ Stopped
//	                    └────────── agent ended ──────────────────────▶
//
// What is answered is decided by a Machine, and what is installed by a Definition; both
// are compiled everywhere. Only Windows compiles what calls it.
package service
