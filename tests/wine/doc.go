// Package wine runs the agent for Windows as a user has it: installed as a service, with an
// ecs-local beside it, on a Docker engine for Windows that the test plays on loopback. The
// Windows is Wine's; make test-windows runs it.
package wine
