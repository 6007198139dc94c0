package docker

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"ecsagent/agent/runtime"
)

// longestOutput of a command is kept, in bytes; the rest is read and dropped.
const longestOutput = 64 << 10

// RunIn runs a command in a container and waits for its end. One that is still running
// when ctx ends is left to itself: Docker has no way to end it.
func (c *Client) RunIn(ctx context.Context, id string, command runtime.Command) (runtime.Outcome, error) {
	op := operation{name: "CannotCreateContainerExecError", label: "run", limit: c.limits.Command}
	return call(ctx, op, func(ctx context.Context) (out runtime.Outcome, err error) {
		made, err := c.api().ContainerExecCreate(ctx, id, container.ExecOptions{User: command.User, Cmd: command.Args, AttachStdout: true, AttachStderr: true})
		if err != nil {
			return out, err
		}
		stream, err := c.api().ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
		if err != nil {
			return out, err
		}
		defer stream.Close()
		// The end of the context does not reach a connection that is no longer HTTP's.
		stop := context.AfterFunc(ctx, stream.Close)
		defer stop()
		text := limited{left: longestOutput}
		if _, err := stdcopy.StdCopy(&text, &text, stream.Reader); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return out, fmt.Errorf("read what the command prints: %w", err)
		}
		out.Output = text.String()
		seen, err := c.api().ContainerExecInspect(ctx, made.ID)
		if err == nil && seen.Running {
			err = fmt.Errorf("the command has closed its output and goes on")
		}
		out.ExitCode = seen.ExitCode
		return out, err
	})
}

// limited keeps the beginning of what is written to it.
type limited struct {
	bytes.Buffer
	left int
}

var _ io.Writer = (*limited)(nil)

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	part := p[:min(len(p), l.left)]
	l.left -= len(part)
	_, _ = l.Buffer.Write(part)
	return len(p), nil
}
