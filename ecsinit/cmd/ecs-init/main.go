// Command ecs-init prepares a host for the ECS agent, starts the agent, and puts the
// host back (docs/spec/03 section 5). Its actions are those of amazon-ecs-init, whose
// place it takes; a service manager calls them.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ecsagent/agent/version"
)

// Exit codes (docs/spec/03 section 5.1).
const (
	exitOK    = 0
	exitUsage = 1
	exitError = 255
)

// pluginAction is what the program does under the name that the official plugin has.
const (
	pluginAction = "volume-plugin"
	pluginName   = "amazon-ecs-volume-plugin"
)

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == pluginName {
		args = append([]string{pluginAction}, args...)
	}
	os.Exit(run(args, os.Stdout, os.Stderr))
}

// usageError is a command line that means nothing.
type usageError struct{ error }

func run(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "ecs-init ACTION",
		Short: "Prepare this host for the ECS agent, and start it",
		Long: `Prepare this host for the ECS agent, start the agent, and put the host back. The unit
ecs.service calls the actions; each may be called again at any time and then does what
is still to be done. With --dry-run an action prints what it would do.

Exit codes: 0; 1 the command line means nothing; 255 the action failed, and standard
error says why. "start" becomes the agent and ends with the agent's exit code: 5 must
not be started again, 42 has an update staged.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("no such action: %q", args[0])}
			}
			return usageError{errors.New("which action?")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print which build this is",
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(stdout, "ecs-init version %s (%s)\n", version.Number(), version.Commit())
		},
	})
	root.AddCommand(actions()...)
	err := root.Execute()
	usage := usageError{}
	ended := (interface{ ExitCode() int })(nil)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "ecs-init:", err)
		fmt.Fprint(stdout, root.UsageString())
		return exitUsage
	}
	fmt.Fprintln(stderr, "ecs-init:", err)
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return exitError
}
