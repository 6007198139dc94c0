// Package branch is the plugin vpc-branch-eni: it makes the VLAN device of a branch
// interface on the instance's trunk, inside the task (docs/spec/05 section 4.8).
//
// The device is made in the task's namespace at once, so that an interrupted call leaves
// nothing on the host; ADD finds and finishes a device that an earlier call made.
package branch
