package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
)

func (a *app) psCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "ps", Short: "List tasks and their containers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.ps(cmd.Context(), all) },
	}
	a.clusterFlag(cmd)
	a.outputFlag(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "stopped tasks too")
	return cmd
}

func (a *app) ps(ctx context.Context, all bool) error {
	c := a.connect()
	defer c.Close()
	// A task that is being stopped has the desired status STOPPED and is still there.
	tasks, err := listTasks(ctx, c, a.cluster, api.StatusRunning, api.StatusStopped)
	if err = a.orNone(err); err != nil {
		return err
	}
	if !all {
		tasks = slices.DeleteFunc(tasks, func(t api.Task) bool { return t.LastStatus == api.StatusStopped })
	}
	slices.SortStableFunc(tasks, func(x, y api.Task) int { return x.CreatedAt.Compare(y.CreatedAt.Time) })
	if a.output == "json" {
		if tasks == nil {
			tasks = []api.Task{}
		}
		return a.json(map[string]any{"tasks": tasks})
	}
	if len(tasks) == 0 {
		a.printf("No tasks. Run one with `ecs-local run FILE`; `ecs-local ps --all` shows stopped ones.\n")
		return nil
	}
	t := table{{"TASK", "DEFINITION", "STATUS", "AGE", "CONTAINER", "STATE", "PORTS", "NOTE"}}
	for i := range tasks {
		t = append(t, taskRows(&tasks[i], time.Now())...)
	}
	t.print(a.Out)
	return nil
}

// taskRows renders a task as one row for each container.
func taskRows(task *api.Task, now time.Time) [][]string {
	head := []string{short(task.TaskARN), definition(task), task.LastStatus, age(now.Sub(task.CreatedAt.Time))}
	reason := task.StoppedReason
	var rows [][]string
	for i := range task.Containers {
		c := &task.Containers[i]
		state := c.LastStatus
		if c.HealthStatus == "HEALTHY" || c.HealthStatus == "UNHEALTHY" {
			state += " (" + strings.ToLower(c.HealthStatus) + ")"
		}
		row := append(head, c.Name, state, ports(c), joinNotes(reason, containerNote(c)))
		rows = append(rows, row)
		head, reason = []string{"", "", "", ""}, ""
	}
	if len(rows) == 0 {
		rows = append(rows, append(head, "", "", "", reason))
	}
	return rows
}

func joinNotes(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(s string) bool { return s == "" }), "; ")
}

// age renders a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// table is rows of cells, the first one the heading.
type table [][]string

// print writes the table with aligned columns; columns that are empty in every row
// but the heading are left out.
func (t table) print(w io.Writer) {
	width := make([]int, len(t[0]))
	for i, row := range t {
		for col, cell := range row {
			if i > 0 && cell != "" {
				width[col] = max(width[col], len([]rune(cell)), len(t[0][col]))
			}
		}
	}
	for _, row := range t {
		var line strings.Builder
		for col, cell := range row {
			if width[col] > 0 {
				fmt.Fprintf(&line, "%-*s  ", width[col], cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

func (a *app) json(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func (a *app) instancesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "instances", Short: "List container instances and what is free on them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.instances(cmd.Context()) },
	}
	a.clusterFlag(cmd)
	a.outputFlag(cmd)
	return cmd
}

func (a *app) instances(ctx context.Context) error {
	c := a.connect()
	defer c.Close()
	instances, err := listInstances(ctx, c, a.cluster)
	if err = a.orNone(err); err != nil {
		return err
	}
	if a.output == "json" {
		if instances == nil {
			instances = []api.ContainerInstance{}
		}
		return a.json(map[string]any{"containerInstances": instances})
	}
	if len(instances) == 0 {
		a.printf("No container instances in cluster %s. `ecs-local up` shows how to start an agent.\n", a.cluster)
		return nil
	}
	t := table{{"INSTANCE", "STATUS", "AGENT", "VERSION", "DOCKER", "CPU FREE", "MEMORY FREE", "RUNNING", "PENDING"}}
	for _, i := range instances {
		agent := "connected"
		if !i.AgentConnected {
			agent = "lost"
		}
		t = append(t, []string{short(i.ContainerInstanceARN), i.Status, agent, i.VersionInfo.AgentVersion,
			strings.TrimSpace(strings.TrimPrefix(i.VersionInfo.DockerVersion, "DockerVersion:")), free(&i, "CPU"), free(&i, "MEMORY"),
			fmt.Sprint(i.RunningTasksCount), fmt.Sprint(i.PendingTasksCount)})
	}
	t.print(a.Out)
	return nil
}

func listInstances(ctx context.Context, c *client.Client, cluster string) ([]api.ContainerInstance, error) {
	var instances []api.ContainerInstance
	req := api.ListContainerInstancesRequest{Cluster: cluster}
	for {
		var list api.ListContainerInstancesResponse
		if err := c.Call(ctx, "ListContainerInstances", req, &list); err != nil {
			return nil, err
		}
		for batch := range slices.Chunk(list.ContainerInstanceARNs, describeBatch) {
			var out api.ContainerInstancesResponse
			if err := c.Call(ctx, "DescribeContainerInstances", api.DescribeContainerInstancesRequest{Cluster: cluster, ContainerInstances: batch}, &out); err != nil {
				return nil, err
			}
			instances = append(instances, out.ContainerInstances...)
		}
		if list.NextToken == "" {
			return instances, nil
		}
		req.NextToken = list.NextToken
	}
}

// free renders a resource as what is left of what there is.
func free(i *api.ContainerInstance, name string) string {
	value := func(rs []api.Resource) int {
		for _, r := range rs {
			if r.Name == name {
				return r.IntegerValue
			}
		}
		return 0
	}
	return fmt.Sprintf("%d/%d", value(i.RemainingResources), value(i.RegisteredResources))
}
