// Package drain asks ECS to move the work elsewhere when EC2 says that it will take the
// instance away (ECS_ENABLE_SPOT_INSTANCE_DRAINING; docs/spec/03 section 7.7).
package drain
