//go:build !linux

package main

import (
	"context"
	"errors"

	"ecsagent/agent/config"
	rules "ecsagent/platform_linux/hostrules"
)

var errNoRules = errors.New("packet rules are for Linux")

func checkRules(context.Context, *config.Config, *rules.Plan) (string, []rules.Problem, error) {
	return "", nil, errNoRules
}

func applyRules(context.Context, *config.Config, *rules.Plan) (string, bool, error) {
	return "", false, errNoRules
}

func removeRules(context.Context, *rules.Plan) error { return errNoRules }
