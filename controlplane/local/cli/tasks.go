package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
)

// describeBatch is how many items a Describe call of ECS takes.
const describeBatch = 100

// shortID is how much of a task's id is shown.
const shortID = 8

func taskID(t *api.Task) string { return client.Base(t.TaskARN) }

func short(arn string) string {
	id := client.Base(arn)
	return id[:min(len(id), shortID)]
}

// definition names a task's definition as family:revision.
func definition(t *api.Task) string { return client.Base(t.TaskDefinitionARN) }

// listTasks describes all tasks of a cluster with one of the desired statuses.
func listTasks(ctx context.Context, c *client.Client, cluster string, desired ...string) ([]api.Task, error) {
	var arns []string
	for _, status := range desired {
		req := api.ListTasksRequest{Cluster: cluster, DesiredStatus: status}
		for {
			var out api.ListTasksResponse
			if err := c.Call(ctx, "ListTasks", req, &out); err != nil {
				return nil, err
			}
			for _, arn := range out.TaskARNs { // a task may change sides between the calls
				if !slices.Contains(arns, arn) {
					arns = append(arns, arn)
				}
			}
			if out.NextToken == "" {
				break
			}
			req.NextToken = out.NextToken
		}
	}
	return describeTasks(ctx, c, cluster, arns)
}

// describeTasks returns the tasks in the order asked for; those that are gone are
// left out.
func describeTasks(ctx context.Context, c *client.Client, cluster string, arns []string) ([]api.Task, error) {
	var tasks []api.Task
	for batch := range slices.Chunk(arns, describeBatch) {
		var out api.TasksResponse
		if err := c.Call(ctx, "DescribeTasks", api.DescribeTasksRequest{Cluster: cluster, Tasks: batch}, &out); err != nil {
			return nil, err
		}
		tasks = append(tasks, out.Tasks...)
	}
	return tasks, nil
}

// findTask finds a task by its ARN, its id or a prefix of the id that no other
// task has.
func findTask(ctx context.Context, c *client.Client, cluster, name string) (*api.Task, error) {
	tasks, err := listTasks(ctx, c, cluster, api.StatusRunning, api.StatusStopped)
	if err != nil {
		return nil, err
	}
	var found []api.Task
	for _, t := range tasks {
		if t.TaskARN == name || taskID(&t) == name {
			return &t, nil
		}
		if strings.HasPrefix(taskID(&t), name) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no task %q in cluster %s: `ecs-local ps --all` lists them", name, cluster)
	case 1:
		return &found[0], nil
	}
	var ids []string
	for _, t := range found {
		ids = append(ids, taskID(&t))
	}
	return nil, fmt.Errorf("%q means %d tasks: %s", name, len(found), strings.Join(ids, ", "))
}

// ports renders the bindings of a container: host address and port, container port.
func ports(c *api.Container) string {
	var out []string
	for _, b := range c.NetworkBindings {
		host, inner := fmt.Sprint(b.HostPort), fmt.Sprint(b.ContainerPort)
		if b.HostPortRange != "" {
			host, inner = b.HostPortRange, b.ContainerPortRange
		}
		text := fmt.Sprintf("%s:%s->%s/%s", reachable(b.BindIP), host, inner, b.Protocol)
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

// reachable turns the address of all interfaces into one to connect to.
func reachable(ip string) string {
	switch ip {
	case "", "0.0.0.0":
		return "127.0.0.1"
	case "::":
		return "[::1]"
	}
	if strings.Contains(ip, ":") {
		return "[" + ip + "]"
	}
	return ip
}

// containerNote says how a container ended.
func containerNote(c *api.Container) string {
	var parts []string
	if c.ExitCode != nil {
		parts = append(parts, fmt.Sprintf("exit %d", *c.ExitCode))
	}
	if c.Reason != "" {
		parts = append(parts, c.Reason)
	}
	return strings.Join(parts, ": ")
}

// failed reports whether a stopped task did not do its work: it never ran, or one
// of its containers has a reason or an exit code other than 0. A task that a user
// stopped has not failed.
func failed(t *api.Task) bool {
	if t.StopCode == api.StopUserInitiated {
		return false
	}
	if t.StopCode == api.StopFailedToStart {
		return true
	}
	return slices.ContainsFunc(t.Containers, func(c api.Container) bool {
		return c.Reason != "" || c.ExitCode != nil && *c.ExitCode != 0
	})
}
