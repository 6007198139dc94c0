package main

import (
	"context"

	"ecsagent/agent/config"
	rules "ecsagent/platform_linux/hostrules"
)

func setup(cfg *config.Config) rules.Setup {
	return rules.Setup{Means: rules.System(), Backend: rules.Backend(cfg.HostRulesBackend)}
}

func checkRules(ctx context.Context, cfg *config.Config, p *rules.Plan) (string, []rules.Problem, error) {
	return setup(cfg).Check(ctx, p)
}

func applyRules(ctx context.Context, cfg *config.Config, p *rules.Plan) (string, bool, error) {
	return setup(cfg).Apply(ctx, p)
}

func removeRules(ctx context.Context, p *rules.Plan) error {
	return rules.Setup{Means: rules.System()}.Remove(ctx, p)
}
