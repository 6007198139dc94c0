// Package serviceconnect is the plugin ecs-serviceconnect: it leads a task's traffic
// through the proxy of ECS Service Connect (docs/spec/05 section 4.12).
package serviceconnect
