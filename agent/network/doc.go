// Package network keeps track of what is attached to the instance for tasks.
//
// An Attachment is something that ECS says will appear: a network interface or a
// volume. It is recorded when ACS announces it, becomes ATTACHED when the device
// shows up, is then reported to ECS, and is forgotten when it does not show up in
// time (docs/spec/01 sections 2.8.3 and 2.8.4, docs/spec/02 section 1.4).
//
//	Add ──▶ NONE ──device seen──▶ ATTACHED ──ECS accepted──▶ sent
//	          └──deadline──▶ forgotten ◀──deadline──┘
package network
