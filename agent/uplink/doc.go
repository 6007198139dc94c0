// Package uplink opens the signed websockets that the agent keeps to ECS: the work
// channel and the telemetry channel begin in the same way (docs/spec/01 sections 2.2
// to 2.4 and 4.1).
package uplink
