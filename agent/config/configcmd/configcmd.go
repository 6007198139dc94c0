// Package configcmd is the command "config" of the agent: check, show, reference.
package configcmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"ecsagent/agent/config"
)

// ExitError carries a command's exit code; what there is to say has been printed.
type ExitError struct{ Code int }

// Error implements error.
func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// ExitCode is the process exit code.
func (e *ExitError) ExitCode() int { return e.Code }

// NewCommand returns the command. sources is called when a subcommand runs. A
// non-zero exit code comes back as an *ExitError.
func NewCommand(sources func() config.Sources) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCheck(sources), newShow(sources), newReference())
	return cmd
}

func newCheck(sources func() config.Sources) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "List what is wrong with the configuration",
		Long: `List each unknown, misspelt, malformed, out-of-range or ineffective setting, one a
line, with its file and line. With FILE, look at that file alone: JSON if its name
ends in .json, NAME=VALUE lines otherwise.

Exit codes: 0 nothing is wrong; 1 something is; 2 FILE cannot be read.`,
		Args:          cobra.MaximumNArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := parseFormat(output)
			if err != nil {
				return err
			}
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			return exit(config.RunCheck(cmd.Context(), cmd.OutOrStdout(), sources(), file, format))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", string(config.FormatText), "text or json")
	return cmd
}

func newShow(sources func() config.Sources) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the effective settings and where each comes from",
		Long: `Print the effective settings with the origin of each. Secrets are redacted.

Exit codes: 0; 1 the agent would not run with this configuration.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := parseFormat(output)
			if err != nil {
				return err
			}
			return exit(config.RunShow(cmd.Context(), cmd.OutOrStdout(), sources(), format))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", string(config.FormatText), "text or json")
	return cmd
}

func newReference() *cobra.Command {
	return &cobra.Command{
		Use:   "reference",
		Short: "Print the reference page of all settings, in Markdown",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return config.Reference(cmd.OutOrStdout()) },
	}
}

func parseFormat(s string) (config.Format, error) {
	switch f := config.Format(s); f {
	case config.FormatText, config.FormatJSON:
		return f, nil
	default:
		return "", fmt.Errorf("output format %q: want text or json", s)
	}
}

func exit(code int) error {
	if code == config.ExitOK {
		return nil
	}
	return &ExitError{Code: code}
}
