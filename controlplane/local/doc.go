// Package local puts the local ECS together: the service, which decides, the hub,
// which holds the agents' websockets, and one HTTP listener for both, with a few
// endpoints of its own for the command line.
//
//	POST /                      ECS API (package service)
//	GET  …/ws                   ACS and TCS (package agentlink)
//	GET  /health                for supervisors
//	     /_local/…              events, stats, status and shutdown, for loopback only
//	     /latest/…              instance metadata, on request (docs/spec/01 section 5.1)
package local
