package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/agent/config"
	"ecsagent/agent/config/configcmd"
	"ecsagent/agent/endpoint/introspection"
)

// Exit codes of doctor.
const (
	exitImpaired    = 1
	exitUnreachable = 2
	doctorTimeout   = 10 * time.Second
)

// newDoctor is the command that shows what is wrong with the instance.
func newDoctor(sources func() config.Sources, now func() time.Time) *cobra.Command {
	var output, address string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show whether the instance is healthy, and what to do if not",
		Long: `Ask the running agent how Docker, the connection to ECS, disks, packet rules, the clock
and its own state file fare.

Exit codes: 0 healthy, warnings included; 1 impaired; 2 the agent does not answer.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("output format %q: want text or json", output)
			}
			if address == "" {
				address = introspectionAddress(cmd.Context(), withRegion(sources()))
			}
			health, err := askHealth(cmd.Context(), address)
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "ecs-agent:", err)
				return &configcmd.ExitError{Code: exitUnreachable}
			}
			if output == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetEscapeHTML(false)
				encoder.SetIndent("", "  ")
				err = encoder.Encode(health)
			} else {
				err = showHealth(cmd.OutOrStdout(), &health, now())
			}
			if err == nil && health.Status == "IMPAIRED" {
				return &configcmd.ExitError{Code: exitImpaired}
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&address, "address", "", "address of the agent's introspection server (default ECS_INTROSPECTION_ADDRESS, else "+defaultIntrospection+")")
	return cmd
}

func askHealth(ctx context.Context, address string) (h introspection.Health, err error) {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	fail := func(err error) (introspection.Health, error) {
		return introspection.Health{}, fmt.Errorf("ask the agent at %s: %w", address, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/health", nil)
	if err != nil {
		return fail(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fail(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
		return fail(errors.New("it answers " + response.Status))
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxTasksBody)).Decode(&h); err != nil {
		return fail(err)
	}
	if h.Status == "" {
		return fail(errors.New("it does not speak of health"))
	}
	return h, nil
}

// showHealth prints what is wrong before what is not.
func showHealth(out io.Writer, h *introspection.Health, now time.Time) error {
	view := tasksView{now: now}
	fmt.Fprintf(out, "%s: %s\n", h.Status, h.Summary)
	for _, c := range h.Checks {
		fmt.Fprintf(out, "  %-14s %s for %s\n", c.Name, c.Status, view.age(c.Since))
	}
	for _, c := range h.Checks {
		for _, f := range c.Findings {
			fmt.Fprintf(out, "\n%s (%s, %s)\n", f.Title, f.Severity, f.Code)
			if f.Cause != "" {
				fmt.Fprintf(out, "  %s\n", oneLine(f.Cause))
			}
			if _, err := fmt.Fprintf(out, "  %s\n", f.Text); err != nil {
				return err
			}
		}
	}
	return nil
}
