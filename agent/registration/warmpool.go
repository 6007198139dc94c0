package registration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
)

const (
	inService         = "InService"
	lifecycleInterval = time.Minute
	lifecyclePolls    = 120 // while there is no state at all
)

// WaitInService waits until Auto Scaling wants the instance in service, so that one
// in a warm pool does not register (ECS_WARM_POOLS_CHECK; docs/spec/03 section 7.8).
// state is usually (*awsenv.IMDS).TargetLifecycleState. Every error is an *Error.
func WaitInService(ctx context.Context, state func(context.Context) (string, error), log *zap.Logger) error {
	known := false
	for poll := 1; ; poll++ {
		s, err := state(ctx)
		switch {
		case ctx.Err() != nil:
			return &Error{Code: ExitOK, Err: context.Cause(ctx)}
		case errors.Is(err, awsenv.ErrBlackholed) || err == nil && s == inService:
			return nil
		case err == nil && s != "":
			known = true
		case err == nil || errors.Is(err, awsenv.ErrNotFound):
			if !known && poll >= lifecyclePolls {
				return terminal(errors.New("wait for the warm pool: the instance has no target lifecycle state; is it in an Auto Scaling group?"))
			}
		case !passing(err):
			return terminal(fmt.Errorf("wait for the warm pool: %w", err))
		}
		log.Warn("waiting for auto scaling to put the instance in service", zap.String("state", s), zap.Int("attempt", poll), zap.Error(err))
		if awsenv.Sleep(ctx, lifecycleInterval) != nil {
			return &Error{Code: ExitOK, Err: context.Cause(ctx)}
		}
	}
}

func passing(err error) bool {
	switch awsenv.StatusCode(err) {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
