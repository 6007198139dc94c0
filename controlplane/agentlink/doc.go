// Package agentlink is the agents' side of the local ECS: it accepts their ACS and
// TCS websockets, hands work to them until they acknowledge it, and passes what
// they say to a Backend, which decides (docs/spec/01 chapters 2 to 5).
//
//	         Deliver            ┌────────── instance ──────────┐
//	Backend ─────────▶ Hub ───▶ │ outbox   credentials book    │
//	   ▲                        │   │             │            │
//	   │   acks, manifests,     │   ▼             ▼            │   websocket
//	   └────── metrics ──────── │ ACS session (one at a time) ─┼──────────▶ agent
//	                            │ TCS session (one at a time) ─┼──────────▶ agent
//	                            └──────────────────────────────┘
//
// What must outlive a connection (payloads and credentials that are not yet
// acknowledged) belongs to the instance; what ends with a connection (heartbeats,
// the manifest's id) belongs to the session. A session is one goroutine that owns
// its timers and does all writing, and a second one that reads.
package agentlink
