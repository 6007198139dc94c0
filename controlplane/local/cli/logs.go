package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	dockerclient "github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ecsagent/controlplane/api"
)

type logsFlags struct {
	follow     bool
	timestamps bool
	tail       string
}

func (a *app) logsCommand() *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use: "logs TASK [CONTAINER]", Short: "Show the output of a task's containers",
		Long: `Logs reads the containers' output from the Docker engine that DOCKER_HOST names, or
the local one. Without CONTAINER it shows all containers of the task, each line
with the container's name before it when there are several.`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.logs(cmd.Context(), args[0], strings.Join(args[1:], ""), f)
		},
	}
	a.clusterFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "stay and show what comes, until the container ends")
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "show times")
	flags.StringVar(&f.tail, "tail", "all", "how many `LINES` of the end to show")
	return cmd
}

func (a *app) logs(ctx context.Context, taskName, containerName string, f logsFlags) error {
	c := a.connect()
	defer c.Close()
	task, err := findTask(ctx, c, a.cluster, taskName)
	if err != nil {
		return err
	}
	containers, err := pick(task, containerName)
	if err != nil {
		return err
	}
	docker, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	if err != nil {
		return fmt.Errorf("reach the Docker engine (DOCKER_HOST=%q): %w", a.Getenv("DOCKER_HOST"), err)
	}
	defer docker.Close()
	var mu sync.Mutex // one line at a time
	group, ctx := errgroup.WithContext(ctx)
	for _, con := range containers {
		prefix := ""
		if len(containers) > 1 {
			prefix = con.Name + " | "
		}
		group.Go(func() error {
			out := &lineWriter{mu: &mu, w: a.Out, prefix: prefix}
			errOut := &lineWriter{mu: &mu, w: a.Err, prefix: prefix}
			defer out.flush()
			defer errOut.flush()
			return copyLog(ctx, docker, con, f, out, errOut)
		})
	}
	return group.Wait()
}

// pick chooses the containers whose output is wanted and can exist.
func pick(task *api.Task, name string) ([]api.Container, error) {
	var found []api.Container
	var names []string
	for _, c := range task.Containers {
		names = append(names, c.Name)
		if (name == "" || c.Name == name) && c.RuntimeID != "" {
			found = append(found, c)
		}
		if c.Name == name && c.RuntimeID == "" {
			return nil, fmt.Errorf("container %s has not been created: it has no output%s", name, because(&c, task))
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	if name != "" {
		return nil, fmt.Errorf("task %s has no container %q: it has %s", short(task.TaskARN), name, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("task %s is %s and none of its containers has been created: there is no output%s",
		short(task.TaskARN), task.LastStatus, because(&api.Container{}, task))
}

func because(c *api.Container, task *api.Task) string {
	if text := joinNotes(task.StoppedReason, c.Reason); text != "" {
		return " (" + text + ")"
	}
	return ""
}

func copyLog(ctx context.Context, docker *dockerclient.Client, c api.Container, f logsFlags, out, errOut io.Writer) error {
	info, err := docker.ContainerInspect(ctx, c.RuntimeID)
	if err != nil {
		return fmt.Errorf("find container %s (%s): %w\n  Set DOCKER_HOST to the engine that the agent uses; stopped containers are removed after a while.", c.Name, short(c.RuntimeID), err)
	}
	stream, err := docker.ContainerLogs(ctx, c.RuntimeID, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: f.follow, Timestamps: f.timestamps, Tail: f.tail,
	})
	if err != nil {
		return fmt.Errorf("read output of container %s: %w", c.Name, err)
	}
	defer stream.Close()
	if info.Config != nil && info.Config.Tty {
		_, err = io.Copy(out, stream)
	} else {
		_, err = stdcopy.StdCopy(out, errOut, stream)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("read output of container %s: %w", c.Name, err)
	}
	return nil
}

// lineWriter writes whole lines with a prefix, so that those of several containers
// do not mix.
type lineWriter struct {
	mu     *sync.Mutex
	w      io.Writer
	prefix string
	rest   []byte
}

// maxLine bounds what is kept of a line without an end.
const maxLine = 64 << 10

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n') + 1
		if end == 0 && len(l.rest) > maxLine {
			end = maxLine
		}
		if end == 0 {
			return len(p), nil
		}
		if err := l.line(l.rest[:end]); err != nil {
			return 0, err
		}
		l.rest = l.rest[end:]
	}
}

func (l *lineWriter) line(text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.w, "%s%s", l.prefix, text)
	return err
}

func (l *lineWriter) flush() {
	if len(l.rest) > 0 {
		_ = l.line(append(l.rest, '\n')) // what cannot be written now could not be before
	}
}
