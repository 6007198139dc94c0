package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/config"
	"ecsagent/agent/doctor"
	"ecsagent/platform_linux/hostrules"
)

const whoMakesThePath = "ecs-init makes the way before it starts the agent, with ECS_HOST_RULES=agent the agent keeps it, " +
	"with none the operator answers for it"

// hostRules keeps or watches the packet rules of 169.254.170.2, as the settings say.
// run is nil when nobody keeps them here, the check's Run when they are nobody's
// business.
func (a *agent) hostRules(ctx context.Context) (run func(context.Context) error, check doctor.Check) {
	setup := hostrules.Setup{Means: hostrules.System(), Backend: hostrules.Backend(a.cfg.HostRulesBackend)}
	switch a.cfg.HostRules {
	case config.RulesByNone:
		return nil, doctor.Check{}
	case config.RulesByAgent:
		keeper, err := setup.Keeper(ctx, hostrules.KeeperOptions{Plan: a.paths.Plan, Log: a.log})
		if err == nil {
			return keeper.Run, doctor.Rules(func(context.Context) ([]string, error) {
				s := keeper.Status()
				return texts(s.Problems), s.Err
			})
		}
		a.log.Error("packet rules cannot be kept", zap.Error(err))
		return nil, doctor.Rules(func(context.Context) ([]string, error) { return nil, err })
	default:
		return nil, doctor.Rules(sparing(func(ctx context.Context) ([]string, error) {
			plan, err := a.paths.Plan(ctx)
			if err != nil {
				return nil, err
			}
			_, problems, err := setup.Check(ctx, &plan)
			return texts(problems), err
		}, time.Now))
	}
}

// taskPath says why tasks would not reach 169.254.170.2: nobody has made its path, who is
// said to make it before the agent starts. A path that the agent will keep, or that the
// operator answers for, is taken for one.
func (a *agent) taskPath(ctx context.Context) error {
	if a.cfg.HostRules != config.RulesByInit {
		return nil
	}
	plan, err := a.paths.Plan(ctx)
	if err != nil {
		return err
	}
	setup := hostrules.Setup{Means: hostrules.System(), Backend: hostrules.Backend(a.cfg.HostRulesBackend)}
	_, problems, err := setup.Check(ctx, &plan)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(texts(problems), "; "))
	}
	return nil
}

func texts(problems []hostrules.Problem) (all []string) {
	for _, p := range problems {
		all = append(all, p.Text)
	}
	return all
}
