package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/local"
	"ecsagent/controlplane/local/client"
	"ecsagent/controlplane/service"
)

// Environment is what the command line has around it.
type Environment struct {
	Out, Err io.Writer
	Getenv   func(string) string
	Version  string
}

// app is what the commands share.
type app struct {
	Environment
	endpoint string
	cluster  string
	output   string
	ran      bool // a command was found and its arguments were right
}

// Main runs the command line and returns its exit code. The context, Ctrl-C and
// SIGTERM end it.
func Main(ctx context.Context, env Environment, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	a := &app{Environment: env}
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.ran {
		err = usagef("%w\n  See `%s --help`.", err, cmd.CommandPath())
	}
	if err != nil {
		fmt.Fprintf(env.Err, "ecs-local: %s\n", explain(err))
	}
	return codeOf(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "ecs-local",
		Short: "Run Amazon ECS tasks on this machine, without an AWS account",
		Long: `ecs-local is a local Amazon ECS: it serves the public ECS API on loopback and
drives ECS agents through the same protocols as AWS does. It is an independent
implementation, not affiliated with Amazon.

  ecs-local up                  serve, in this terminal
  ecs-local run web.json        run a task definition
  ecs-local ps                  see what runs
  ecs-local stats               see what it uses
  ecs-local logs 4f2a -f        read a task's output; ids may be shortened
  ecs-local exec 4f2a           open a shell in a container
  ecs-local stop 4f2a           stop a task
  ecs-local down                stop everything

` + exitCodes,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&a.endpoint, "endpoint", "", "`URL` of the local ECS (default $ECS_LOCAL_ENDPOINT or http://"+local.DefaultListen+")")
	root.AddCommand(a.upCommand(), a.runCommand(), a.renderCommand(), a.psCommand(), a.statsCommand(), a.logsCommand(), a.execCommand(), a.stopCommand(),
		a.downCommand(), a.instancesCommand(), a.updateCommand(), a.versionCommand())
	for _, cmd := range root.Commands() {
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.ran = true
			return run(cmd, args)
		}
	}
	return root
}

func (a *app) clusterFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.cluster, "cluster", "default", "`NAME` of the cluster")
}

func (a *app) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.output, "output", "text", "`FORMAT`: text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) // fails for unknown flags only
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return fmt.Errorf("unknown --output %q: use text or json", a.output)
		}
		return nil
	}
}

func (a *app) region() string {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v := a.Getenv(name); v != "" {
			return v
		}
	}
	return service.DefaultRegion
}

// connect returns a client for the endpoint of the flag or the environment.
func (a *app) connect() *client.Client {
	endpoint := a.endpoint
	if endpoint == "" {
		endpoint = a.Getenv("ECS_LOCAL_ENDPOINT")
	}
	if endpoint == "" {
		endpoint = "http://" + local.DefaultListen
	}
	return client.New(endpoint, a.region())
}

// printf writes to standard output; a reader that has gone away ends the program
// by itself.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.Out, format, args...) }

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.printf("ecs-local %s\n", a.Version)
			return nil
		},
	}
}

// completeTasks offers the ids of tasks for shell completion.
func (a *app) completeTasks(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	c := a.connect()
	defer c.Close()
	tasks, err := listTasks(cmd.Context(), c, a.cluster, "RUNNING")
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, t := range tasks {
		if id := taskID(&t); strings.HasPrefix(id, prefix) {
			out = append(out, id+"\t"+definition(&t))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

var errServerEnded = errors.New("the local ECS has ended")
