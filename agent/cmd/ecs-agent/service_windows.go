package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ecsagent/platform_windows/service"
)

// serviceCommands make and remove the agent's Windows service.
func serviceCommands() []*cobra.Command {
	parent := &cobra.Command{Use: "service", Short: "Install or remove the Windows service " + service.Name, Args: cobra.NoArgs}
	var options service.Options
	var start string
	define := func() (service.Definition, error) {
		program, err := os.Executable()
		if err != nil {
			return service.Definition{}, fmt.Errorf("find this program: %w", err)
		}
		options.Program, options.ProgramData, options.Start = program, os.Getenv("ProgramData"), service.Start(start)
		return service.Define(options)
	}
	install := &cobra.Command{
		Use: "install", Short: "Install this program as a service, or change the one there is", Args: cobra.NoArgs,
		Long: "Install this program as a service, or change the one there is. The service is not started:\n" +
			"settings come first, in the environment of the machine or in %ProgramData%\\Amazon\\ECS\\ecs.config.",
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := define()
			if err != nil {
				return err
			}
			without, err := service.Install(d)
			for _, setting := range without {
				fmt.Fprintf(c.ErrOrStderr(), "ecs-agent: this Windows does not know the setting, which is left out: %s\n", setting)
			}
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "service %s is installed; start it with: Start-Service %s\n", d.Name, d.Name)
			}
			return err
		},
	}
	install.Flags().StringVar(&start, "start", string(service.Automatic), "when it starts: auto (delayed), manual or disabled")
	install.Flags().StringSliceVar(&options.DependsOn, "depends-on", []string{"Docker"}, "services that have to run before it")
	uninstall := &cobra.Command{
		Use: "uninstall", Short: "Stop the service and remove it; settings, data and logs stay", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := define()
			if err == nil {
				err = service.Uninstall(d)
			}
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "service %s is not installed\n", d.Name)
			}
			return err
		},
	}
	parent.AddCommand(install, uninstall)
	return []*cobra.Command{parent}
}
