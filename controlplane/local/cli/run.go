package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/local/client"
	"ecsagent/controlplane/taskdef"
)

// runTaskBatch is how many tasks one RunTask call starts.
const runTaskBatch = 10

type runFlags struct {
	count  int
	env    []string
	wait   bool
	detach bool
	exec   bool
	volume string
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Register a task definition and run it",
		Long: `Run registers the task definition in FILE and runs it, and shows the tasks' progress
until they run or have stopped. FILE may be plain JSON, the output of
"aws ecs describe-task-definition", and may have comments and trailing commas;
"-" reads standard input.

With --wait the command stays until the tasks have stopped and ends with 5 if one
of them failed.`,
		Example: "  ecs-local run examples/web.json\n  ecs-local run batch.json --env MODE=fast --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), cmd.InOrStdin(), args[0], f)
		},
	}
	a.clusterFlag(cmd)
	a.outputFlag(cmd)
	flags := cmd.Flags()
	flags.IntVarP(&f.count, "count", "n", 1, "how many `TASKS` to run")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "`NAME=VALUE` for every container; may be repeated")
	flags.BoolVar(&f.exec, "enable-execute-command", false, "let commands be sent into the containers, see `ecs-local exec --help`")
	flags.StringVar(&f.volume, "volume", "", "`NAME=GIB[,FILESYSTEM]` of the EBS volume that the definition marks with configuredAtLaunch")
	flags.BoolVarP(&f.wait, "wait", "w", false, "wait until the tasks have stopped")
	flags.BoolVarP(&f.detach, "detach", "d", false, "do not wait at all")
	cmd.MarkFlagsMutuallyExclusive("wait", "detach")
	return cmd
}

func (a *app) run(ctx context.Context, stdin io.Reader, name string, f runFlags) error {
	if f.count < 1 {
		return usagef("--count %d: run at least one task", f.count)
	}
	env, err := environment(f.env)
	if err != nil {
		return err
	}
	volumes, err := volumeAtLaunch(f.volume)
	if err != nil {
		return err
	}
	def, err := readDefinition(name, stdin)
	if err != nil {
		return err
	}
	c := a.connect()
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx) // ends the event stream
	defer cancel()
	events, err := c.Watch(ctx)
	if err != nil {
		return err
	}
	defer events.Close()
	var registered api.RegisterTaskDefinitionResponse
	if err := c.Call(ctx, "RegisterTaskDefinition", def, &registered); err != nil {
		return err
	}
	req := api.RunTaskRequest{TaskRequest: api.TaskRequest{Cluster: a.cluster, TaskDefinition: registered.TaskDefinition.TaskDefinitionARN, StartedBy: "ecs-local", EnableExecuteCommand: f.exec, VolumeConfigurations: volumes}}
	if def.NetworkMode == api.NetworkVPC {
		// The local ECS has one subnet, if any.
		req.NetworkConfiguration = &api.NetworkConfiguration{AWSVPCConfiguration: []byte(`{"subnets":["local"]}`)}
	}
	for _, container := range def.ContainerDefinitions {
		if len(env) > 0 {
			req.Overrides.ContainerOverrides = append(req.Overrides.ContainerOverrides, api.ContainerOverride{Name: container.Name, Environment: env})
		}
	}
	fo := a.follower()
	tasks, placeErr := a.start(ctx, c, req, f.count, fo)
	if len(tasks) > 0 && !f.detach {
		if tasks, err = fo.until(ctx, events, tasks, runDone(f.wait)); errors.Is(err, context.Canceled) {
			return fmt.Errorf("the tasks go on, `ecs-local ps` lists them: %w", err)
		} else if err != nil {
			return err
		}
	}
	if a.output == "json" {
		if err := a.json(api.TasksResponse{Tasks: tasks, Failures: []api.Failure{}}); err != nil {
			return err
		}
	}
	return errors.Join(placeErr, runResult(tasks))
}

// start places count tasks. Those that were placed are returned with the error
// that says why others were not.
func (a *app) start(ctx context.Context, c *client.Client, req api.RunTaskRequest, count int, fo *follower) ([]api.Task, error) {
	var tasks []api.Task
	for left := count; left > 0; {
		n := min(left, runTaskBatch)
		left -= n
		req.Count = &n
		var out api.TasksResponse
		if err := c.Call(ctx, "RunTask", req, &out); err != nil {
			return tasks, err
		}
		for i := range out.Tasks {
			fo.show(&out.Tasks[i])
		}
		tasks = append(tasks, out.Tasks...)
		if len(out.Failures) > 0 {
			return tasks, notPlaced(count-len(tasks), out.Failures)
		}
	}
	return tasks, nil
}

// notPlaced says why tasks were not placed and what can be done.
func notPlaced(n int, failures []api.Failure) error {
	var lines []string
	for _, f := range failures {
		line := f.Reason
		if f.ARN != "" {
			line = short(f.ARN) + ": " + line
		}
		if f.Detail != "" {
			line += " (" + f.Detail + ")"
		}
		lines = append(lines, "  "+line+hint(f.Reason))
	}
	return &exitError{ExitNotPlaced, fmt.Errorf("%d task(s) not placed: no container instance takes them\n%s", n, strings.Join(lines, "\n"))}
}

func hint(reason string) string {
	switch {
	case strings.HasPrefix(reason, "RESOURCE:"):
		return ": stop tasks (`ecs-local ps`), or ask for less; `ecs-local instances` shows what is free"
	case reason == api.ReasonAgent:
		return ": the agent is not connected; see its log"
	case reason == api.ReasonAttribute:
		return ": the instance lacks something that the definition needs; `aws ecs describe-container-instances` lists its attributes"
	}
	return ""
}

func runDone(wait bool) func(*api.Task) bool {
	return func(t *api.Task) bool {
		return t.LastStatus == api.StatusStopped || !wait && t.LastStatus == api.StatusRunning
	}
}

// runResult is the error of a run whose tasks did not do what was waited for.
func runResult(tasks []api.Task) error {
	var bad []string
	for i := range tasks {
		t := &tasks[i]
		if t.LastStatus == api.StatusStopped && failed(t) {
			bad = append(bad, fmt.Sprintf("task %s failed: %s", short(t.TaskARN), note(t, api.StatusStopped)))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &exitError{ExitTaskFailed, fmt.Errorf("%s\n  Its output: ecs-local logs %s", strings.Join(bad, "\n"), short(firstFailed(tasks)))}
}

func firstFailed(tasks []api.Task) string {
	for i := range tasks {
		if failed(&tasks[i]) {
			return tasks[i].TaskARN
		}
	}
	return ""
}

// environment reads NAME=VALUE pairs.
func environment(pairs []string) ([]api.KeyValue, error) {
	var env []api.KeyValue
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("--env %q: write NAME=VALUE", pair)
		}
		env = append(env, api.KeyValue{Name: name, Value: value})
	}
	return env, nil
}

// infrastructureRole stands for the role with which ECS would manage volumes.
const infrastructureRole = "arn:aws:iam::000000000000:role/ecsInfrastructureRole"

// volumeAtLaunch reads NAME=GIB[,FILESYSTEM]; empty: there is none.
func volumeAtLaunch(text string) ([]api.VolumeConfiguration, error) {
	if text == "" {
		return nil, nil
	}
	name, rest, _ := strings.Cut(text, "=")
	size, fileSystem, _ := strings.Cut(rest, ",")
	gib, err := strconv.Atoi(size)
	if err != nil || name == "" {
		return nil, usagef("--volume %q: write NAME=GIB or NAME=GIB,FILESYSTEM, such as data=10,ext4", text)
	}
	return []api.VolumeConfiguration{{Name: name, ManagedEBSVolume: &api.EBSVolume{SizeInGiB: &gib, FilesystemType: fileSystem, RoleARN: infrastructureRole}}}, nil
}

func readDefinition(name string, stdin io.Reader) (*api.RegisterTaskDefinitionRequest, error) {
	in := stdin
	if name != "-" {
		file, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, usagef("read task definition: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, taskdef.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read task definition %s: %w", name, err)
	}
	return taskdef.Read(name, data)
}
