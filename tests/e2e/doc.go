// Package e2e tests the real programs against a real Docker engine and a real
// registry. `make test` sets ECS_TEST_DOCKER_HOST; without it the tests are skipped.
//
//	agent ──▶ proxy.TCP ──▶ proxy.ECS ──▶ ecs-local      cut, silence, watch
//	agent ──▶ proxy.Docker ──▶ engine                    fail, delay, count
//	engine ──▶ registry                                  401, 404, 500, stall
package e2e
