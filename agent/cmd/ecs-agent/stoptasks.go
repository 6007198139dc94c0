package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/agent/app"
	"ecsagent/agent/config"
)

type stopTasksFlags struct {
	within       time.Duration
	whenShutdown bool
}

func newStopTasks(sources func() config.Sources) *cobra.Command {
	var f stopTasksFlags
	cmd := &cobra.Command{
		Use:   "stop-tasks",
		Short: "Stop every task in order, because the host shuts down",
		Long: `Have the running agent stop every task, each in the order of its containers, and
report them to ECS. Containers that would take longer than there is time for get their
share of it. From then on the agent takes no work until it is started again.

A restart of the agent leaves tasks running; this is for the shutdown of the host. In a
systemd unit:

  ExecStop=-/usr/bin/ecs-agent stop-tasks --when-shutting-down --within 80s
  TimeoutStopSec=90s

Exit codes: 0 all tasks are stopped and reported, or the host does not shut down; 1 some
are not, or no agent answers.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.within < time.Second {
				return fmt.Errorf("--within %v: want at least 1s", f.within)
			}
			if f.whenShutdown && !hostShutsDown(cmd.Context()) {
				fmt.Fprintln(cmd.OutOrStdout(), "the host does not shut down: tasks run on")
				return nil
			}
			cfg, _, err := config.Load(cmd.Context(), sources())
			if err != nil {
				return err
			}
			return app.StopTasks(cmd.Context(), cfg.DataDir, f.within)
		},
	}
	cmd.Flags().DurationVar(&f.within, "within", 80*time.Second, "`TIME` in which it must be done")
	cmd.Flags().BoolVar(&f.whenShutdown, "when-shutting-down", false, "do nothing unless systemd is shutting the host down")
	return cmd
}

// hostShutsDown asks systemd, which is "stopping" then. Where there is no systemd to ask,
// nobody shuts down by it.
func hostShutsDown(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	state, _ := exec.CommandContext(ctx, "systemctl", "is-system-running").Output() // its status is not 0 then
	return strings.TrimSpace(string(state)) == "stopping"
}
