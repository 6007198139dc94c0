package directory

import (
	"context"
	"net/netip"
	"time"

	"ecsagent/agent/task"
)

// settle is how long a request waits for containers that are being started, whose
// addresses are not known yet. Clients give up after two seconds.
const settle = 1500 * time.Millisecond

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
// owner of what it asks for; otherwise nil. No task is the owner of what has ownerARN "".
//
// It is certain of that unless the request came from an address that is neither the
// host's nor yet a task's while containers of other tasks are being started: it may be
// one of these. Foreign then waits until that is known or settle is over.
func (d *Directory) Foreign(ctx context.Context, remote, ownerARN string) (caller *Task, certain bool) {
	if caller = d.Caller(remote); caller == nil {
		return d.unknown(ctx, remote, ownerARN)
	}
	if caller.ARN == ownerARN {
		return nil, true
	}
	owner := d.Task(ownerARN)
	if owner == nil || !owner.Unsettled() {
		return caller, true
	}
	// The address may just have passed from the one to the other.
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	owner.Await(ctx, func(*task.Snapshot) bool { return !owner.Unsettled() })
	return other(d.Caller(remote), ownerARN), true
}

// unknown is Foreign for an address that is no task's yet.
func (d *Directory) unknown(ctx context.Context, remote, ownerARN string) (*Task, bool) {
	from, err := netip.ParseAddrPort(remote)
	a := from.Addr().Unmap().WithZone("")
	if err == nil && a.IsLoopback() || !d.unsettledBeside(ownerARN) || err == nil && d.host != nil && d.host(a) {
		return nil, true // a process of the host, or of a container in mode host
	}
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		changed := d.changed.next()
		if caller := d.Caller(remote); caller != nil {
			return other(caller, ownerARN), true
		}
		if !d.unsettledBeside(ownerARN) {
			return nil, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

func other(caller *Task, ownerARN string) *Task {
	if caller == nil || caller.ARN == ownerARN {
		return nil
	}
	return caller
}

// unsettledBeside reports whether containers of a task other than the one of the ARN are
// being started.
func (d *Directory) unsettledBeside(arn string) (found bool) {
	d.Tasks(func(t *Task) bool {
		found = t.ARN != arn && t.Unsettled()
		return !found
	})
	return found
}
