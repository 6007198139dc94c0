package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/render"
	"ecsagent/controlplane/service"
	"ecsagent/controlplane/taskdef"
	"ecsagent/controlplane/wire"
)

// Ids of a rendered task. A task that runs gets random ones; these are always the
// same, so that two renderings can be compared.
const (
	renderedTask      = "00000000000000000000000000000000"
	renderedContainer = "00000000-0000-0000-0000-%012d"
	renderedRole      = "00000000-0000-0000-0000-0000000000a1"
	renderedExecution = "00000000-0000-0000-0000-0000000000e1"
	renderedExpiry    = "2100-01-01T00:00:00Z"
)

func (a *app) renderCommand() *cobra.Command {
	var env []string
	cmd := &cobra.Command{
		Use:   "render FILE",
		Short: "Show the task that agents would be sent for a task definition",
		Long: `Render prints, as JSON, the task that the local ECS would send to an agent for the
task definition in FILE, and runs nothing; no local ECS is needed. FILE may be plain
JSON, the output of "aws ecs describe-task-definition", and may have comments and
trailing commas; "-" reads standard input.

The ids are made of zeros and credentials open nothing. To see what an agent would
ask Docker for, pass it on to "ecs-agent explain -".`,
		Example: "  ecs-local render examples/web.json | ecs-agent explain -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.render(cmd.InOrStdin(), args[0], env)
		},
	}
	a.clusterFlag(cmd)
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "`NAME=VALUE` for every container; may be repeated")
	return cmd
}

func (a *app) render(stdin io.Reader, name string, env []string) error {
	variables, err := environment(env)
	if err != nil {
		return err
	}
	def, err := readDefinition(name, stdin)
	if err != nil {
		return err
	}
	in, err := a.renderInput(def, variables)
	if err != nil {
		return err
	}
	t, err := render.Render(in)
	if err != nil {
		return fmt.Errorf("the local ECS cannot run the task: %w", err)
	}
	role := renderedCredentials(renderedRole, render.TaskRole(in.Definition, in.Overrides))
	execution := renderedCredentials(renderedExecution, render.ExecutionRole(in.Definition, in.Overrides))
	raw, err := t.JSON(api.StatusRunning, role, execution)
	if err != nil {
		return fmt.Errorf("encode task: %w", err)
	}
	return a.json(raw)
}

// renderInput is what the service gives to the renderer for the first revision of a
// definition.
func (a *app) renderInput(def *api.RegisterTaskDefinitionRequest, env []api.KeyValue) (render.Input, error) {
	d := taskdef.Complete(def)
	d.Revision = 1
	region := a.region()
	arn := func(kind string, parts ...string) string {
		return fmt.Sprintf("arn:%s:ecs:%s:%s:%s/%s", partition(region), region, service.DefaultAccountID, kind, strings.Join(parts, "/"))
	}
	in := render.Input{
		TaskARN: arn("task", a.cluster, renderedTask), ClusterARN: arn("cluster", a.cluster),
		Region: region, AccountID: service.DefaultAccountID, LaunchType: api.LaunchEC2, Group: "family:" + d.Family,
		Definition: &d, Overrides: &api.TaskOverride{},
	}
	gpu := 0
	for i := range d.ContainerDefinitions {
		cd := &d.ContainerDefinitions[i]
		in.ContainerARNs = append(in.ContainerARNs, arn("container", a.cluster, renderedTask, fmt.Sprintf(renderedContainer, i+1)))
		if len(env) > 0 {
			in.Overrides.ContainerOverrides = append(in.Overrides.ContainerOverrides, api.ContainerOverride{Name: cd.Name, Environment: env})
		}
		var ids []string
		for range gpus(cd) {
			ids = append(ids, "GPU-"+strconv.Itoa(gpu))
			gpu++
		}
		in.GPUs = append(in.GPUs, ids)
	}
	return in, nil
}

// gpus is how many GPUs a container asks for; the definition has been validated.
func gpus(cd *api.ContainerDefinition) int {
	for _, r := range cd.ResourceRequirements {
		if n, err := strconv.Atoi(r.Value); r.Type == "GPU" && err == nil {
			return n
		}
	}
	return 0
}

func renderedCredentials(id, roleARN string) *wire.RoleCredentials {
	if roleARN == "" {
		return nil
	}
	return &wire.RoleCredentials{
		CredentialsID: id, RoleARN: roleARN, AccessKeyID: "ASIARENDEREDNOKEY",
		SecretAccessKey: "opens-nothing", SessionToken: "opens-nothing", Expiration: renderedExpiry,
	}
}

func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
