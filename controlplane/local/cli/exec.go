package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/session/plugin"
)

type execFlags struct{ container string }

func (a *app) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec TASK [COMMAND...]",
		Short: "Run a command, or a shell, in a container",
		Long: `Exec runs a command in a container of a task that was started with
--enable-execute-command, with this terminal, and ends with its exit code. Without a
command it is /bin/sh. "aws ecs execute-command" does the same where a program or link
named ` + plugin.Name + `, which is ecs-local, is in the PATH:

  ln -s "$(command -v ecs-local)" /usr/local/bin/` + plugin.Name,
		Example: "  ecs-local exec 4f2a\n  ecs-local exec 4f2a --container app -- ls -l /",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error { return a.exec(cmd.Context(), args[0], args[1:], f) },
	}
	a.clusterFlag(cmd)
	cmd.Flags().StringVarP(&f.container, "container", "c", "", "`NAME` of the container, when the task has several")
	return cmd
}

func (a *app) exec(ctx context.Context, name string, command []string, f execFlags) error {
	c := a.connect()
	defer c.Close()
	t, err := findTask(ctx, c, a.cluster, name)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		command = []string{"/bin/sh"}
	}
	var out api.ExecuteCommandResponse
	err = c.Call(ctx, "ExecuteCommand", api.ExecuteCommandRequest{
		Cluster: a.cluster, Task: t.TaskARN, Container: f.container, Interactive: true, Command: quoted(command),
	}, &out)
	if err != nil {
		return err
	}
	result, err := plugin.Run(ctx, plugin.Options{Session: plugin.Session(out.Session), In: os.Stdin, Out: a.Out, Version: a.Version})
	switch {
	case err != nil:
		return err
	case result.Output != "":
		return fmt.Errorf("run %s in container %s: %s", command[0], out.ContainerName, result.Output)
	case result.ExitCode != nil && *result.ExitCode != 0:
		return &exitError{*result.ExitCode, fmt.Errorf("%s ended with exit code %d", command[0], *result.ExitCode)}
	}
	return nil
}

// quoted makes one command line of words, which the agent splits again.
func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(list, " ")
}
