// Package placement decides on which container instance a task goes: resources,
// ports, attributes, constraints and strategies, as ECS places tasks. It is pure:
// it looks at pictures of instances and changes nothing.
package placement
