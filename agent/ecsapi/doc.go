// Package ecsapi is the agent's client of the ECS API: AWS JSON 1.1 over HTTPS,
// signed with SigV4.
//
// Inputs and outputs carry the wire's own member names. The client repeats a call
// that failed in a way that may pass; callers that must get through wrap it in a
// loop of their own. Discovery keeps the endpoints of the websocket sessions.
//
// It follows docs/spec/01 sections 1.1, 1.8, 1.10 and 1.11.
package ecsapi
