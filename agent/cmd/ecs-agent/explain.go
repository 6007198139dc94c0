package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/app"
	"ecsagent/agent/config"
	"ecsagent/agent/config/configcmd"
	"ecsagent/agent/explain"
	"ecsagent/agent/image"
	"ecsagent/agent/registration"
	"ecsagent/agent/task"
)

// assumedRegion stands in for the instance's region where no setting names one:
// explain asks nobody.
const assumedRegion = "us-east-1"

type explainFlags struct {
	output string
	os     string
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Print what Docker would be asked for to run a task",
		Long: `Print what this agent would ask Docker for to run the tasks in FILE, and do none of
it: volumes, images, containers in the order of their start, and the order of their
stop. FILE is a task as ECS sends it, or a payload of tasks; "-" reads standard
input. The settings are those of the daemon. No network and no Docker are needed.

What is chosen while the agent runs stands as a placeholder: <hex>, <uuid>, <port>,
<digest>, <id of CONTAINER>. An image that sets AWS_REGION or AWS_DEFAULT_REGION itself
keeps its own.

Exit codes: 0; 1 a task or a container would stop instead of running, and the reason
that ECS would show is on standard error, or the input or the settings cannot be used.`,
		Example:       "  ecs-local render examples/web.json | ecs-agent explain -",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExplain(cmd, args[0], f)
		},
	}
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&f.os, "os", "", "operating system of the containers, linux or windows (default: this host's)")
	return cmd
}

func runExplain(cmd *cobra.Command, name string, f explainFlags) error {
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("output format %q: want text or json", f.output)
	}
	if f.os != "" && f.os != "linux" && f.os != "windows" {
		return fmt.Errorf("operating system %q: want linux or windows", f.os)
	}
	document, err := readDocument(cmd.InOrStdin(), name)
	if err != nil {
		return err
	}
	raws, err := explain.Read(document)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	settings, err := explainSettings(cmd.Context(), f.os)
	if err != nil {
		return err
	}
	tasks := make([]explain.Task, 0, len(raws))
	for _, raw := range raws {
		tasks = append(tasks, explain.Explain(cmd.Context(), raw, settings))
	}
	return printTasks(cmd.OutOrStdout(), cmd.ErrOrStderr(), tasks, f.output)
}

func printTasks(stdout, stderr io.Writer, tasks []explain.Task, output string) error {
	failed := false
	if output == "json" {
		if err := explain.WriteJSON(stdout, tasks); err != nil {
			return err
		}
	}
	for i := range tasks {
		if output == "text" {
			if i > 0 {
				fmt.Fprintln(stdout)
			}
			if err := explain.WriteText(stdout, &tasks[i]); err != nil {
				return err
			}
		}
		for _, reason := range tasks[i].Reasons() {
			fmt.Fprintln(stderr, reason)
			failed = true
		}
	}
	if failed {
		return &configcmd.ExitError{Code: app.ExitFailure}
	}
	return nil
}

// readDocument reads a file or, for "-", standard input.
func readDocument(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	document, err := io.ReadAll(io.LimitReader(in, wire.MaxFrame+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(document) > wire.MaxFrame {
		return nil, fmt.Errorf("read %s: it has more than the %d bytes that ECS sends at once", name, wire.MaxFrame)
	}
	return document, nil
}

// explainSettings are the settings with which the daemon would run on this host, for
// containers of an operating system; empty means the host's.
func explainSettings(ctx context.Context, containers string) (explain.Settings, error) {
	sources := config.System()
	host, _ := app.GatherHost(ctx) // facts that are missing are zero, as for the daemon
	sources.IPv6Only = func() bool { return host.IP.IPv6Only("") }
	cfg, _, err := config.Load(ctx, sources)
	if cfg.Region == "" {
		sources.Environ = append([]string{"AWS_DEFAULT_REGION=" + assumedRegion}, sources.Environ...)
		cfg, _, err = config.Load(ctx, sources)
	}
	if err != nil {
		return explain.Settings{}, err
	}
	pull, err := task.ParsePullBehavior(cfg.ImagePullBehavior)
	if err != nil {
		return explain.Settings{}, err
	}
	registries, _ := image.ParseEngineAuth(cfg.EngineAuthType, cfg.EngineAuthData)
	if containers == "" {
		containers = host.OSType
	}
	return explain.Settings{
		Intake: task.Intake{GPUSupport: cfg.GPUSupport, Pause: app.PauseOf(cfg)}, Hooks: app.Previews(cfg, containers),
		Network: app.PreviewNetwork(cfg, containers),
		Env:     app.Mapping(cfg, host, containers, cmp.Or(cfg.Cluster, registration.DefaultCluster)),
		Pull:    pull, PullUpfront: cfg.DependentContainersPullUpfront,
		StopTimeout: cfg.ContainerStopTimeout, Registries: registries,
	}, nil
}
