package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ecsagent/agent/logging"
	"ecsagent/ecsinit/staging"
	"ecsagent/ecsinit/volumeplugin"
)

// keptLogs is how many hours of the plugin's log are kept (docs/spec/03 section 3.4).
const keptLogs = 24

// volumePlugin is the action that stays: Docker's volume plugin.
func volumePlugin() *cobra.Command {
	var o volumeplugin.Options
	var mount, file, level string
	var dryRun bool
	cmd := &cobra.Command{
		Use: pluginAction, Short: "Mount file systems of EFS for Docker",
		Long: `Be the volume plugin amazon-ecs-volume-plugin of Docker, which mounts file systems of EFS
with the helpers of amazon-efs-utils, and EBS volumes of tasks for the agent, until it is
told to end; volumes stay mounted then.
The socket is the one that systemd passes, or one of its own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.Mounter = volumeplugin.System{Program: mount}
			if o.MountLimit <= 0 {
				return usageError{fmt.Errorf("--mount-limit is %v: want more than 0", o.MountLimit)}
			}
			if dryRun {
				plan, err := volumeplugin.Preview(ctx, o)
				for _, phrase := range plan {
					fmt.Fprintln(cmd.OutOrStdout(), "would", phrase)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", pluginAction, err)
				}
				return nil
			}
			log, _, closeLog, err := logging.New(logging.Options{
				Level: level, File: file, Rollover: string(logging.Hourly), MaxRollCount: keptLogs,
				Console: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
			})
			if err != nil {
				return usageError{err}
			}
			o.Log = log
			if err := errors.Join(volumeplugin.Run(ctx, o), closeLog()); err != nil {
				return fmt.Errorf("%s: %w", pluginAction, err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "print what would be done, and do nothing")
	flags.StringVar(&o.Socket, "socket", volumeplugin.Socket, "`FILE` to listen on, where systemd passes no socket")
	flags.StringVar(&o.State, "state", volumeplugin.State, "`FILE` that volumes and their users are kept in")
	flags.StringVar(&o.Folder, "volumes", volumeplugin.Folder, "`FOLDER` below which volumes are mounted")
	flags.StringVar(&o.Staging.Folder, "ebs", staging.Folder, "`FOLDER` below which EBS volumes of tasks are mounted")
	flags.StringVar(&o.Staging.Host.Sys, "sys", "/sys", "`FOLDER` with the kernel's picture of the disks")
	flags.DurationVar(&o.MountLimit, "mount-limit", volumeplugin.MountLimit, "`TIME` after which a mount is given up; Docker itself waits for two minutes")
	flags.StringVar(&mount, "mount", "mount", "`PROGRAM` that mounts, called as mount(8) is")
	flags.StringVar(&file, "log-file", volumeplugin.Log, "`FILE` to log to, besides standard output; empty: none")
	flags.StringVar(&level, "log-level", "info", "`LEVEL` of what is logged: debug, info, warn, error or crit")
	return cmd
}
