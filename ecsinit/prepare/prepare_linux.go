package prepare

import (
	"context"
	"os"
	"path/filepath"

	"ecsagent/agent/config"
	"ecsagent/agent/hostpath"
	"ecsagent/ecsinit/gpus"
	"ecsagent/ecsinit/step"
	"ecsagent/platform_linux/hostrules"
)

// Host is the host to prepare.
type Host struct {
	Config *config.Config
	// Root is a folder that stands for / where folders are made; empty: /.
	Root string
}

// Before are the steps that prepare the host, in their order: guards come last, when
// nothing that they depend on fails any more.
func (h Host) Before() []step.Step {
	steps := []step.Step{h.folders(), h.mounts(), removeOfficial(h.Config.DockerEndpoint), h.gpus()}
	if h.Config.HostRules != config.RulesByNone {
		steps = append(steps, h.rules())
	}
	return steps
}

// After are the steps that put the host back. They do not need each other.
func (h Host) After() []step.Step {
	if h.Config.HostRules == config.RulesByNone {
		return nil
	}
	return []step.Step{h.noRules()}
}

func (h Host) path(name string) string {
	if h.Root == "" {
		return name
	}
	return filepath.Join(h.Root, name)
}

func (h Host) setup() hostrules.Setup {
	return hostrules.Setup{Means: hostrules.System(), Backend: hostrules.Backend(h.Config.HostRulesBackend)}
}

func (h Host) rules() step.Step {
	planner, setup := hostpath.NewPlanner(h.Config), h.setup()
	return step.Step{
		Name: "packet rules",
		Plan: func(ctx context.Context) ([]string, error) {
			plan, err := planner.Plan(ctx)
			if err != nil {
				return nil, err
			}
			backend, problems, err := setup.Check(ctx, &plan)
			return phrases("put right with "+backend+": ", problems), err
		},
		Do: func(ctx context.Context) error {
			plan, err := planner.Plan(ctx)
			if err != nil {
				return err
			}
			_, _, err = setup.Apply(ctx, &plan)
			return err
		},
	}
}

func (h Host) noRules() step.Step {
	planner, setup := hostpath.NewPlanner(h.Config), h.setup()
	return step.Step{
		Name: "packet rules",
		Plan: func(ctx context.Context) ([]string, error) {
			plan, err := planner.Plan(ctx)
			if err != nil {
				return nil, err
			}
			problems, err := setup.Left(ctx, &plan)
			if err != nil && len(problems) == 0 {
				return nil, err
			}
			return phrases("take away what is ", problems), nil // Do meets the same failure
		},
		Do: func(ctx context.Context) error {
			plan, err := planner.Plan(ctx)
			if err != nil {
				return err
			}
			return setup.Remove(ctx, &plan)
		},
	}
}

func phrases(verb string, problems []hostrules.Problem) (all []string) {
	for _, p := range problems {
		all = append(all, verb+p.Text)
	}
	return all
}

// gpus describes the GPUs to the agent. The agent runs without them; a description of
// an earlier start would be of what is not there any more.
func (h Host) gpus() step.Step {
	file := h.path(h.Config.GPUInfoFile)
	finder := gpus.Finder{Root: os.DirFS("/"), Run: func(ctx context.Context, program string, args ...string) (string, error) {
		return hostrules.Command(ctx, "", program, args...)
	}}
	return describeGPUs(h.Config.GPUSupport, file, finder)
}
