package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/ecsapi"
)

// Where EC2 puts its notices. There is no event for them.
const (
	interruptionPath = "meta-data/spot/instance-action"
	rebalancePath    = "meta-data/events/recommendations/rebalance"
)

// period is how often the notices are looked for (docs/spec/01 section 1.11).
const period = time.Second

// callTimeout bounds one look and one call.
const callTimeout = 10 * time.Second

// Metadata is the instance metadata service.
type Metadata interface {
	Get(ctx context.Context, path string) (string, error)
}

// API is the ECS API as this package needs it.
type API interface {
	UpdateContainerInstancesState(context.Context, *ecsapi.UpdateContainerInstancesStateInput) (*ecsapi.UpdateContainerInstancesStateOutput, error)
}

// Options say who is drained.
type Options struct {
	Metadata             Metadata
	API                  API
	Cluster, InstanceARN func() string
	Log                  *zap.Logger
}

// Run looks for a notice every second and sets the instance to DRAINING when there is
// one. Once that succeeded it looks no more: what an operator sets afterwards stays. It
// returns when ctx ends.
func Run(ctx context.Context, o Options) error {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	w := watcher{Options: o}
	for {
		if w.look(ctx) {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

type watcher struct {
	Options
	told string // the last trouble, told once
}

// look reports whether the instance is draining now.
func (w *watcher) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	notice, err := w.notice(ctx)
	if err == nil && notice == "" {
		return false
	}
	if err == nil {
		err = w.drain(ctx)
	}
	if err != nil {
		if ctx.Err() == nil && err.Error() != w.told {
			w.told = err.Error()
			w.Log.Error("instance not set to draining", zap.Error(err))
		}
		return false
	}
	w.Log.Warn("instance is draining: ec2 is about to take it away", zap.String("reason", notice))
	return true
}

// notice returns what EC2 says, empty when there is no notice. A metadata service that
// does not answer says nothing.
func (w *watcher) notice(ctx context.Context) (string, error) {
	if text, err := w.Metadata.Get(ctx, interruptionPath); err == nil {
		return interruption(text)
	} else if !errors.Is(err, awsenv.ErrNotFound) {
		w.Log.Debug("spot notice not read", zap.Error(err))
		return "", nil
	}
	text, err := w.Metadata.Get(ctx, rebalancePath)
	if err != nil {
		return "", nil
	}
	return rebalance(text)
}

// interruption reads {"action":"terminate","time":"..."}; keys in any case.
func interruption(text string) (string, error) {
	var n struct{ Action, Time string }
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return "", fmt.Errorf("read the spot notice %.200q: %w", text, err)
	}
	if !slices.Contains([]string{"hibernate", "stop", "terminate"}, n.Action) {
		return "", fmt.Errorf("read the spot notice %.200q: action %q, want hibernate, stop or terminate", text, n.Action)
	}
	return strings.TrimSpace("spot " + n.Action + " " + n.Time), nil
}

// rebalance reads {"noticeTime":"..."}.
func rebalance(text string) (string, error) {
	var n struct{ NoticeTime string }
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return "", fmt.Errorf("read the rebalance recommendation %.200q: %w", text, err)
	}
	if n.NoticeTime == "" {
		return "", fmt.Errorf("read the rebalance recommendation %.200q: it has no noticeTime", text)
	}
	return "rebalance recommendation " + n.NoticeTime, nil
}

func (w *watcher) drain(ctx context.Context) error {
	out, err := w.API.UpdateContainerInstancesState(ctx, &ecsapi.UpdateContainerInstancesStateInput{
		Cluster: w.Cluster(), ContainerInstances: []string{w.InstanceARN()}, Status: "DRAINING",
	})
	if err != nil {
		return err
	}
	for _, f := range out.Failures {
		return fmt.Errorf("set the instance to DRAINING: %s: %s %s", f.ARN, f.Reason, f.Detail)
	}
	return nil
}
