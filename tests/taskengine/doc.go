// Package taskengine proves the task engine against a real Docker engine that a proxy
// makes slow, deaf, forgetful or absent. The engine runs in the test's process, with the
// agent's own parts around it, so that its limits can be short; what crosses the wire to
// ECS is in tests/e2e.
//
// The tests run where ECS_TEST_DOCKER_HOST names an engine.
package taskengine
