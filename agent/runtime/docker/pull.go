package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/docker/docker/api/types/image"

	"ecsagent/agent/failpoint"
	"ecsagent/agent/runtime"
)

// namePull is the name of a failed pull (docs/spec/02 section 6.2).
const namePull = "CannotPullContainerError"

// stalled is the cause of a pull that was given up because its progress stopped.
type stalled struct{ after time.Duration }

func (s *stalled) Error() string {
	return fmt.Sprintf("image pull stalled: no progress for %s", s.after)
}

// Pull pulls an image, once, and returns when it is complete. It gives up when the
// first progress takes longer than Timeouts.PullBegin and when progress pauses for
// longer than Timeouts.PullInactive; ctx bounds the whole. told, unless nil, hears how
// far the pull is with every message of Docker's; it must not block.
func (c *Client) Pull(ctx context.Context, ref string, auth *runtime.RegistryAuth, told func(runtime.PullProgress)) error {
	op := operation{name: namePull, label: "pullBegin", limit: c.limits.PullBegin, registry: true}
	if err := checkReference(op, ref); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.AfterFunc(c.limits.PullBegin, func() { cancel(&limitReached{c.limits.PullBegin}) })
	defer begin.Stop()
	silence := time.AfterFunc(math.MaxInt64, func() { cancel(&stalled{c.limits.PullInactive}) })
	defer silence.Stop()

	err := failpoint.Before("docker", op.label)
	if err == nil {
		err = c.pull(ctx, ref, auth, told, func() {
			begin.Stop()
			silence.Reset(c.limits.PullInactive)
		})
	}
	if err == nil {
		err = failpoint.After("docker", op.label)
	}
	var stall *stalled
	if err != nil && errors.As(context.Cause(ctx), &stall) {
		err = stall
	}
	return op.failure(ctx, err)
}

// pull makes the call and reads its progress to the end; alive is called for every
// piece of it.
func (c *Client) pull(ctx context.Context, ref string, auth *runtime.RegistryAuth, told func(runtime.PullProgress), alive func()) error {
	header, err := authHeader(auth)
	if err != nil {
		return err
	}
	body, err := c.api().ImagePull(ctx, ref, image.PullOptions{RegistryAuth: header})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	return readProgress(&observed{body, alive}, told)
}

// observed tells of every read that yields something.
type observed struct {
	io.Reader
	tell func()
}

func (o *observed) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	if n > 0 {
		o.tell()
	}
	return n, err
}
