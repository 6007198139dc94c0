package report

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/ecsapi"
)

// Attachment is an attachment that was found on the host.
type Attachment struct {
	ARN string
	// TaskARN is set for the attachment of a task, which is confirmed with a task
	// state change; without it the instance's own API is used.
	TaskARN  string
	Deadline time.Time // ECS has given up on it after that
}

// Confirm tells ECS that an attachment is there, again and again until ECS has
// accepted it (nil), its deadline has passed, ECS refuses it for good, or ctx ends.
// Attachments do not share a back-off. docs/spec/01 sections 1.10.1 and 1.10.3.
func (r *Reporter) Confirm(ctx context.Context, a Attachment) error {
	ctx, cancel := context.WithDeadline(ctx, a.Deadline)
	defer cancel()
	backoff := newBackoff()
	for attempt := 1; ; attempt++ {
		err := r.confirmOnce(ctx, a)
		if err == nil {
			r.options.Log.Info("attachment confirmed", zap.String("attachment", a.ARN), zap.String("task", a.TaskARN))
			return nil
		}
		if hopeless(err) {
			return fmt.Errorf("confirm attachment %s: %w", a.ARN, err)
		}
		r.options.Log.Warn("attachment not confirmed", zap.String("attachment", a.ARN), zap.Int("attempt", attempt), zap.Error(err))
		if waitErr := awsenv.Sleep(ctx, backoff.Next()); waitErr != nil {
			return fmt.Errorf("confirm attachment %s: %w (last answer: %w)", a.ARN, waitErr, err)
		}
	}
}

func (r *Reporter) confirmOnce(ctx context.Context, a Attachment) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	changes := []ecsapi.AttachmentStateChange{{AttachmentARN: a.ARN, Status: "ATTACHED"}}
	var err error
	if a.TaskARN != "" {
		_, err = r.options.API.SubmitTaskStateChange(ctx, &ecsapi.SubmitTaskStateChangeInput{
			Cluster: r.options.Cluster(), Task: a.TaskARN, Attachments: changes,
		})
	} else {
		_, err = r.options.API.SubmitAttachmentStateChanges(ctx, &ecsapi.SubmitAttachmentStateChangesInput{
			Cluster: r.options.Cluster(), Attachments: changes,
		})
	}
	return err
}
