// Package harness runs the real programs, ecs-local and ecs-agent, as processes of
// their own with their own folders and ports, and talks to them as users do: through
// the ECS API, the environment and files. It knows nothing of their insides.
package harness
