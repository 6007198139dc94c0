// Package acs is the conversation in which work arrives: the websocket session with
// ACS (docs/spec/01 chapters 2 and 3).
//
// A Session keeps one connection at a time. One goroutine reads and handles frames
// in order, one writes, one watches the timers:
//
//	discover ─▶ sign, dial ─▶ serve ──────────────────────────────▶ pause ─▶ (again)
//	                           │ reader: frame ─▶ message ─▶ handler   ▲
//	                           │ writer: bounded queue ─▶ frames       │
//	                           └ timers: silence, age, shutdown ───────┘
//
// The reader waits for the engine only until work is durable, never for Docker, the
// network or a download. A message is acknowledged when what it asks for is durable,
// and not at all when it could not be: ACS then sends it again.
package acs
