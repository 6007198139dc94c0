package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/api"
)

func (a *app) updateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "update [INSTANCE...]", Short: "Put another agent on container instances (all of the cluster), and do not wait",
		Long: `Asks the agents to put another one in their place: that of "up --agent-update FILE".
The agents must take updates: ECS_UPDATES_ENABLED and ECS_UPDATE_DOWNLOAD_DIR.
"instances --output json" shows in agentUpdateStatus how it goes.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.update(cmd.Context(), args) },
	}
	a.clusterFlag(cmd)
	return cmd
}

func (a *app) update(ctx context.Context, names []string) error {
	c := a.connect()
	defer c.Close()
	instances, err := listInstances(ctx, c, a.cluster)
	if err != nil {
		return err
	}
	var arns []string
	for _, i := range instances {
		if len(names) == 0 {
			arns = append(arns, i.ContainerInstanceARN)
		}
	}
	for _, name := range names {
		found := slices.DeleteFunc(slices.Clone(instances), func(i api.ContainerInstance) bool {
			return i.ContainerInstanceARN != name && !strings.HasPrefix(short(i.ContainerInstanceARN), name)
		})
		if len(found) != 1 {
			return fmt.Errorf("%d container instances in cluster %s are called %q: want one", len(found), a.cluster, name)
		}
		arns = append(arns, found[0].ContainerInstanceARN)
	}
	for _, arn := range arns {
		var out api.ContainerInstanceResponse
		if err := c.Call(ctx, "UpdateContainerAgent", api.UpdateContainerAgentRequest{Cluster: a.cluster, ContainerInstance: arn}, &out); err != nil {
			return err
		}
		a.printf("%s is asked to update its agent from %s\n", short(arn), out.ContainerInstance.VersionInfo.AgentVersion)
	}
	return nil
}
