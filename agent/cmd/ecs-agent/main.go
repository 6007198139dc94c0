// Command ecs-agent is the ECS container agent. Without a subcommand it is the
// daemon and takes the flags of the agent it replaces (docs/spec/03 section 2.1);
// with one it helps an operator.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ecsagent"
	"ecsagent/agent/app"
	"ecsagent/agent/config"
	"ecsagent/agent/config/configcmd"
	"ecsagent/agent/version"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return subcommand(args, stdout, stderr)
	}
	f, err := parseFlags(args, stderr)
	if err != nil {
		return app.ExitTerminal
	}
	switch {
	case f.license:
		fmt.Fprint(stdout, licenseText())
		return app.ExitOK
	case f.version:
		fmt.Fprint(stdout, version.Block())
		return app.ExitOK
	case f.healthcheck:
		return healthcheck(stderr)
	}
	limitProcessors()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := app.Options{Sources: config.System(), License: licenseText(), Stdout: stdout, Stderr: stderr}
	o.Sources.Flags = f.config
	if f.attributes {
		return app.PrintAttributes(ctx, o)
	}
	return daemon(ctx, o, f.windowsService, stderr)
}

// maxProcessors is more than the daemon ever needs: it waits, mostly.
const maxProcessors = 4

// limitProcessors lets the daemon use half of the host's processors, so that the
// tasks have the others. With fewer of them Go also wakes fewer threads for the same
// work. The environment variable GOMAXPROCS wins.
func limitProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(maxProcessors, max(1, runtime.GOMAXPROCS(0)/2)))
	}
}

// subcommand runs one of the commands that help an operator.
func subcommand(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "ecs-agent",
		Short:         "The ECS container agent",
		Long:          "The ECS container agent. Without a subcommand it is the daemon; ecs-agent -help lists its flags.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.AddCommand(configcmd.NewCommand(func() config.Sources { return app.WithMetadata(config.System()) }))
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print which build this is", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { fmt.Fprintln(stdout, version.Line()) },
	})
	root.AddCommand(newExplain())
	root.AddCommand(newRules(config.System))
	root.AddCommand(newDoctor(config.System, time.Now))
	root.AddCommand(newTasks(config.System, time.Now))
	root.AddCommand(newStopTasks(config.System))
	root.AddCommand(serviceCommands()...)
	err := root.Execute()
	if told := (*configcmd.ExitError)(nil); errors.As(err, &told) {
		return told.Code
	}
	if err != nil {
		fmt.Fprintln(stderr, "ecs-agent:", err)
		return app.ExitFailure
	}
	return app.ExitOK
}

func licenseText() string {
	line := "\n" + strings.Repeat("=", 80) + "\n"
	return strings.Join([]string{ecsagent.License, ecsagent.Notice, ecsagent.ThirdParty}, line)
}

// healthcheckTimeout bounds the probe (docs/spec/04 section 1.8).
const healthcheckTimeout = 25 * time.Second

// healthcheck asks the running agent's introspection server; any answer is health.
func healthcheck(stderr io.Writer) int {
	host := os.Getenv("ECS_AGENT_HEALTHCHECK_HOST")
	if host == "" {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthcheckTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+net.JoinHostPort(host, "51678")+"/v1/metadata", nil)
	if err != nil {
		fmt.Fprintln(stderr, "ecs-agent: healthcheck:", err)
		return app.ExitFailure
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		fmt.Fprintln(stderr, "ecs-agent: healthcheck:", err)
		return app.ExitFailure
	}
	_ = response.Body.Close()
	return app.ExitOK
}
