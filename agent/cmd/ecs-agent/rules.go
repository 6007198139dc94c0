package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ecsagent/agent/app"
	"ecsagent/agent/config"
	"ecsagent/agent/config/configcmd"
	"ecsagent/agent/hostpath"
	rules "ecsagent/platform_linux/hostrules"
)

// newRules is the command for the packet rules of 169.254.170.2.
func newRules(sources func() config.Sources) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Show, check, make or remove the packet rules of 169.254.170.2",
		Long: `The packet rules and kernel settings that lead tasks to credentials and metadata at
169.254.170.2, keep other hosts from loopback and introspection, and, with
ECS_BRIDGE_BLOCK_IMDS, bridge tasks from instance metadata. Other programs' rules stay
as they are.

Exit codes: 0; 1 something is wrong, and standard error says what.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	cmd.AddCommand(rulesShow(sources), rulesCheck(sources), rulesApply(sources), rulesRemove(sources))
	return cmd
}

// plan is the plan of the settings, for this host.
func plan(cmd *cobra.Command, sources func() config.Sources) (*config.Config, rules.Plan, error) {
	cfg, _, err := config.Load(cmd.Context(), withRegion(sources()))
	if err != nil {
		return nil, rules.Plan{}, err
	}
	p, err := hostpath.NewPlanner(cfg).Plan(cmd.Context())
	return cfg, p, err
}

// withRegion spares commands that never speak to AWS the question for its region.
func withRegion(s config.Sources) config.Sources {
	s.Environ = append([]string{"AWS_DEFAULT_REGION=" + assumedRegion}, s.Environ...)
	return s
}

func rulesShow(sources func() config.Sources) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show", Short: "Print the plan for this host", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, p, err := plan(cmd, sources)
			if err != nil {
				return err
			}
			return showPlan(cmd.OutOrStdout(), &p, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json, iptables or nft")
	return cmd
}

// shownRule is a rule in JSON.
type shownRule struct {
	ID, Why, Table, Chain, Family, IPTables, NFT string
}

func showPlan(out io.Writer, p *rules.Plan, output string) error {
	switch output {
	case "nft":
		_, err := io.WriteString(out, p.Script())
		return err
	case "iptables":
		for i := range p.Rules {
			fmt.Fprintln(out, p.Rules[i].Command())
		}
		return nil
	case "text":
		for i := range p.Rules {
			r := &p.Rules[i]
			fmt.Fprintf(out, "# %s\n%s\n", r.Why, r.Command())
		}
		for _, s := range p.Sysctls {
			fmt.Fprintf(out, "sysctl -w %s=%s\n", strings.ReplaceAll(s.Key, "/", "."), s.Value)
		}
		if p.Route != "" {
			fmt.Fprintf(out, "ip route replace 169.254.170.2/32 dev %s scope link\n", p.Route)
		}
		return nil
	case "json":
		shown := struct {
			Rules   []shownRule
			Sysctls map[string]string
			Route   string `json:",omitempty"`
		}{Rules: []shownRule{}, Sysctls: map[string]string{}, Route: p.Route}
		for i := range p.Rules {
			r := &p.Rules[i]
			family := "ipv4"
			if r.IPv6 {
				family = "ipv6"
			}
			shown.Rules = append(shown.Rules, shownRule{r.ID, r.Why, string(r.Table), string(r.Chain), family, r.Command(), r.NFT()})
		}
		for _, s := range p.Sysctls {
			shown.Sysctls[strings.ReplaceAll(s.Key, "/", ".")] = s.Value
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(shown)
	}
	return fmt.Errorf("output format %q: want text, json, iptables or nft", output)
}

func rulesCheck(sources func() config.Sources) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Compare this host with the plan", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, p, err := plan(cmd, sources)
			if err != nil {
				return err
			}
			backend, problems, err := checkRules(cmd.Context(), cfg, &p)
			if err != nil {
				return err
			}
			for _, problem := range problems {
				fmt.Fprintln(cmd.ErrOrStderr(), problem)
			}
			if len(problems) > 0 {
				return &configcmd.ExitError{Code: app.ExitFailure}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d rules of %s are in place\n", len(p.Rules), backend)
			return nil
		},
	}
}

func rulesApply(sources func() config.Sources) *cobra.Command {
	return &cobra.Command{
		Use: "apply", Short: "Make this host agree with the plan", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, p, err := plan(cmd, sources)
			if err != nil {
				return err
			}
			backend, changed, err := applyRules(cmd.Context(), cfg, &p)
			if err != nil {
				return err
			}
			word := "are"
			if !changed {
				word = "were"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d rules of %s %s in place\n", len(p.Rules), backend, word)
			return nil
		},
	}
}

func rulesRemove(sources func() config.Sources) *cobra.Command {
	return &cobra.Command{
		Use: "remove", Short: "Take away everything of the plan, whatever made it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, p, err := plan(cmd, sources)
			if err != nil {
				return err
			}
			return removeRules(cmd.Context(), &p)
		},
	}
}
