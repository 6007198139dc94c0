// Package failpoint names the moments at which the agent may be killed, delayed or
// refused in a test.
//
// A failpoint is a pair of lines around something that outlives the process: a write
// to the state file, a call to Docker, a message to or from the control plane, a step
// of the network:
//
//	if err := failpoint.Before("store", "state"); err != nil {
//		return err
//	}
//	err := ... // the write itself
//	if err == nil {
//		err = failpoint.After("store", "state")
//	}
//
// In the product both are empty functions, and nothing of a failpoint is left in the
// binary. Built with the tag failpoint they obey two environment variables:
//
//	ECS_FAILPOINTS     store.state.before=kill@2;docker.create.after=delay:300ms
//	ECS_FAILPOINT_LOG  file that gets a line for each failpoint that is passed
//
// A test need not wait for long limits either: Limit is the limit itself in the product,
// and in a test build what the environment says of its name:
//
//	ECS_FAILPOINT_LIMITS  network.set-up=2s;network.tear-down=2s
//
// Actions are kill (the process ends at once, as with kill -9), error (the call fails)
// and delay:DURATION. @N chooses the N-th time the failpoint is passed, each time
// without it. All lists every name; tests/fault kills the agent at each of them.
package failpoint
