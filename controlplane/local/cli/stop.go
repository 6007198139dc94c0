package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
)

type stopFlags struct {
	all     bool
	noWait  bool
	reason  string
	timeout time.Duration
}

func (a *app) stopCommand() *cobra.Command {
	var f stopFlags
	cmd := &cobra.Command{
		Use: "stop {TASK... | --all}", Short: "Stop tasks and wait until they have stopped",
		Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error { return a.stop(cmd.Context(), args, f) },
	}
	a.clusterFlag(cmd)
	a.outputFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "all tasks of the cluster")
	flags.BoolVar(&f.noWait, "no-wait", false, "do not wait")
	flags.StringVar(&f.reason, "reason", "", "`TEXT` for the tasks' stoppedReason")
	flags.DurationVar(&f.timeout, "timeout", 3*time.Minute, "how long to wait")
	return cmd
}

func (a *app) stop(ctx context.Context, names []string, f stopFlags) error {
	if f.all == (len(names) > 0) {
		return usagef("name the tasks to stop, or use --all")
	}
	c := a.connect()
	defer c.Close()
	var tasks []api.Task
	if f.all {
		running, err := listTasks(ctx, c, a.cluster, api.StatusRunning, api.StatusStopped)
		if err = a.orNone(err); err != nil {
			return err
		}
		tasks = slices.DeleteFunc(running, func(t api.Task) bool { return t.LastStatus == api.StatusStopped })
	}
	for _, name := range names {
		t, err := findTask(ctx, c, a.cluster, name)
		if err != nil {
			return err
		}
		tasks = append(tasks, *t)
	}
	stopped, err := a.stopAndWait(ctx, c, a.cluster, tasks, f)
	if err != nil {
		return err
	}
	if a.output == "json" {
		if stopped == nil {
			stopped = []api.Task{}
		}
		return a.json(map[string]any{"tasks": stopped})
	}
	if len(tasks) == 0 {
		a.printf("No tasks to stop.\n")
	}
	return nil
}

// stopAndWait stops the tasks and follows them until they have stopped.
func (a *app) stopAndWait(ctx context.Context, c *client.Client, cluster string, tasks []api.Task, f stopFlags) ([]api.Task, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	wait, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	events, err := c.Watch(wait)
	if err != nil {
		return nil, err
	}
	defer events.Close()
	fo := a.follower()
	for i := range tasks {
		if tasks[i].LastStatus == api.StatusStopped {
			continue
		}
		var out api.StopTaskResponse
		if err := c.Call(ctx, "StopTask", api.StopTaskRequest{Cluster: cluster, Task: tasks[i].TaskARN, Reason: f.reason}, &out); err != nil {
			return nil, err
		}
		tasks[i] = out.Task
	}
	if f.noWait {
		return tasks, nil
	}
	done, err := fo.until(wait, events, tasks, func(t *api.Task) bool { return t.LastStatus == api.StatusStopped })
	if errors.Is(err, context.DeadlineExceeded) {
		var left []string
		for i := range done {
			if done[i].LastStatus != api.StatusStopped {
				left = append(left, short(done[i].TaskARN))
			}
		}
		return nil, fmt.Errorf("not stopped after %s: %s: is the agent connected? (`ecs-local instances`)", f.timeout, strings.Join(left, ", "))
	}
	return done, err
}

func (a *app) downCommand() *cobra.Command {
	f := stopFlags{reason: "ecs-local down"}
	var force bool
	cmd := &cobra.Command{
		Use: "down", Short: "Stop all tasks and end the local ECS", Args: cobra.NoArgs,
		Long: `Down stops the tasks of all clusters, waits until they have stopped, and ends the
server. When tasks do not stop in time the server stays, unless --force is given.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.down(cmd.Context(), f, force) },
	}
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for the tasks")
	cmd.Flags().BoolVar(&force, "force", false, "end the server even when tasks do not stop")
	return cmd
}

func (a *app) down(ctx context.Context, f stopFlags, force bool) error {
	c := a.connect()
	defer c.Close()
	if err := a.stopEverything(ctx, c, f); err != nil {
		if !force || codeOf(err) == ExitUnreachable {
			return fmt.Errorf("%w\n  `ecs-local down --force` ends the server all the same", err)
		}
		a.printf("%v\n", err)
	}
	if err := c.Local(ctx, http.MethodPost, "shutdown", nil); err != nil {
		return err
	}
	a.printf("The local ECS at %s has ended.\n", c.Endpoint())
	return nil
}

func (a *app) stopEverything(ctx context.Context, c *client.Client, f stopFlags) error {
	var clusters api.ListClustersResponse
	if err := c.Call(ctx, "ListClusters", struct{}{}, &clusters); err != nil {
		return err
	}
	for _, cluster := range clusters.ClusterARNs {
		tasks, err := listTasks(ctx, c, cluster, api.StatusRunning, api.StatusStopped)
		if err != nil {
			return err
		}
		tasks = slices.DeleteFunc(tasks, func(t api.Task) bool { return t.LastStatus == api.StatusStopped })
		if _, err := a.stopAndWait(ctx, c, cluster, tasks, f); err != nil {
			return err
		}
	}
	return nil
}
