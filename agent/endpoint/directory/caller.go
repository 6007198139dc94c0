package directory

import (
	"context"
	"net/netip"
	"time"

	"ecsagent/agent/task"
)

// settle is how long a request waits for containers of a task that are being started,
// whose addresses are not known yet.
const settle = 2 * time.Second

// Caller returns the task whose address a request came from, remote being address and
// port; nil for who is no task's as far as is known, such as processes of the host.
func (d *Directory) Caller(remote string) *Task {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return nil
	}
	return d.At(from.Addr())
}

// Foreign returns the task that a request came from when that is another one than the
// owner of what it asks for; otherwise nil.
func (d *Directory) Foreign(ctx context.Context, remote, ownerARN string) *Task {
	caller := d.Caller(remote)
	if caller == nil || caller.ARN == ownerARN {
		return nil
	}
	owner := d.Task(ownerARN)
	if owner == nil || !owner.Unsettled() {
		return caller
	}
	// The address may just have passed from the one to the other.
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	owner.Await(ctx, func(*task.Snapshot) bool { return !owner.Unsettled() })
	if caller = d.Caller(remote); caller == nil || caller.ARN == ownerARN {
		return nil
	}
	return caller
}
