package docker

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"

	"ecsagent/agent/runtime"
)

// CreateExec prepares a program in a running container, without streams.
func (c *Client) CreateExec(ctx context.Context, id, user string, command []string) (string, error) {
	return call(ctx, operation{name: "CannotCreateContainerExecError", label: "exec command", limit: c.limits.Command}, func(ctx context.Context) (string, error) {
		made, err := c.api().ContainerExecCreate(ctx, id, container.ExecOptions{User: user, Cmd: command})
		return made.ID, err
	})
}

// StartExec starts a program that was prepared.
func (c *Client) StartExec(ctx context.Context, execID string) error {
	return run(ctx, operation{name: "CannotStartContainerExecError", label: "start exec command", limit: c.limits.Command}, func(ctx context.Context) error {
		return c.api().ContainerExecStart(ctx, execID, container.ExecStartOptions{Detach: true})
	})
}

// InspectExec shows a program of CreateExec. One that Docker has forgotten is a failure of
// kind runtime.ErrNotFound.
func (c *Client) InspectExec(ctx context.Context, execID string) (runtime.Exec, error) {
	return call(ctx, operation{name: "CannotInspectContainerExecError", label: "inspect exec command", limit: c.limits.Command}, func(ctx context.Context) (runtime.Exec, error) {
		seen, err := c.api().ContainerExecInspect(ctx, execID)
		if err != nil {
			return runtime.Exec{}, err
		}
		e := runtime.Exec{Running: seen.Running, PID: seen.Pid}
		if !seen.Running {
			e.ExitCode = &seen.ExitCode
		}
		return e, nil
	})
}

// ListExecs returns the ids of the programs that were put into a container besides its own
// and that Docker still knows.
func (c *Client) ListExecs(ctx context.Context, id string) ([]string, error) {
	return call(ctx, operation{name: "CannotInspectContainerExecError", label: "inspecting", limit: c.limits.Inspect}, func(ctx context.Context) ([]string, error) {
		seen, err := c.api().ContainerInspect(ctx, id)
		if err != nil || seen.ContainerJSONBase == nil {
			return nil, err
		}
		return seen.ExecIDs, nil
	})
}

// Processes lists the processes of a running container.
func (c *Client) Processes(ctx context.Context, id string) ([]runtime.Process, error) {
	return call(ctx, operation{name: "CannotInspectContainerExecError", label: "list processes", limit: c.limits.Command}, func(ctx context.Context) ([]runtime.Process, error) {
		var columns []string
		if c.Version().OS != "windows" { // which has columns of its own
			columns = []string{"-eo", "pid,args"}
		}
		top, err := c.api().ContainerTop(ctx, id, columns)
		if err != nil {
			return nil, err
		}
		return processes(&top)
	})
}

// processes reads Docker's table: on Linux PID and COMMAND, on Windows Name, PID and more.
func processes(top *container.TopResponse) ([]runtime.Process, error) {
	pid, command := -1, -1
	for i, title := range top.Titles {
		switch strings.ToLower(title) {
		case "pid":
			pid = i
		case "command", "cmd", "name":
			command = i
		}
	}
	if pid < 0 || command < 0 {
		return nil, fmt.Errorf("docker's list of processes has the columns %q: want PID and COMMAND", top.Titles)
	}
	var list []runtime.Process
	for _, row := range top.Processes {
		if len(row) <= max(pid, command) {
			continue
		}
		n, err := strconv.Atoi(row[pid])
		if err != nil {
			return nil, fmt.Errorf("docker's list of processes has the PID %q: want a number", row[pid])
		}
		list = append(list, runtime.Process{PID: n, Command: strings.Fields(row[command])})
	}
	return list, nil
}
