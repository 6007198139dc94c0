// Package bridge is the plugin ecs-bridge: it joins a task to the host's bridge, over
// which the task reaches its credentials and metadata and nothing else (docs/spec/05
// section 4.9).
//
// The veth pair is made with one end in the task and the other on the host in one step,
// so that it goes with the task's namespace whenever a call is interrupted. ADD called
// again keeps a pair that is as it should be, and otherwise makes it anew.
package bridge
