package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

// Freshness is how old a value may be that a task gets: long enough for a burst of
// tasks, and short enough that a task that is run after a change has the new value.
const Freshness = 5 * time.Second

// Bounds of a call. A service that throttles gets a little longer than AWS's libraries
// give it, because a task that stops for it is started again and asks once more.
const (
	roundTrip = 10 * time.Second // of one attempt
	attempts  = 5
)

// Options are the parts and settings of a Hook.
type Options struct {
	awsenv.JSONOptions
	Region string // of the instance, for a reference that tells none
	// Role gives the role behind a set of execution credentials, so that its tasks share
	// values. Nil, or false: each set is a role of its own.
	Role func(credentialsID string) (arn string, ok bool)
}

func (o Options) complete() Options {
	o.JSONOptions = o.JSONOptions.Complete(roundTrip)
	if o.Attempts == 0 {
		o.Attempts = attempts
	}
	return o
}

// asker is on whose behalf a service is asked.
type asker struct {
	role        string
	credentials aws.CredentialsProvider
}

// asker is nil when the credentials are not there.
func (o *Options) asker(credentialsID string) *asker {
	if o.Credentials == nil {
		return nil
	}
	who := asker{role: credentialsID, credentials: o.Credentials(credentialsID)}
	if who.credentials == nil {
		return nil
	}
	if o.Role != nil {
		if arn, ok := o.Role(credentialsID); ok && arn != "" {
			who.role = arn
		}
	}
	return &who
}

// region is where a reference is looked up.
func (o *Options) region(s *task.Secret) string {
	if s.Region != "" {
		return s.Region
	}
	if a, err := arn.Parse(s.ValueFrom); err == nil && a.Region != "" {
		return a.Region
	}
	return o.Region
}

// service finds the values of secrets. Its error is the reason for which the task stops,
// and shows no value.
type service interface {
	find(ctx context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error)
}

// Hook implements engine.Hook for one of the two services.
type Hook struct {
	kind, provider, text string
	service              service
	log                  *zap.Logger
}

// NewSSM makes the hook for Parameter Store.
func NewSSM(o Options) *Hook {
	o = o.complete()
	return &Hook{kind: "ssmsecret", provider: "ssm", text: "secrets of Parameter Store", service: newParameters(o), log: o.Log}
}

// NewASM makes the hook for Secrets Manager.
func NewASM(o Options) *Hook {
	o = o.complete()
	return &Hook{kind: "asmsecret", provider: "asm", text: "secrets of Secrets Manager", service: newManager(o), log: o.Log}
}

// Find returns values for another hook, with a task's execution credentials. Its error
// shows no value.
func (h *Hook) Find(ctx context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error) {
	return h.service.find(ctx, credentialsID, wanted)
}

// Kind implements engine.Hook.
func (h *Hook) Kind() string { return h.kind }

// Needs implements engine.Hook.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	var containers []string
	for i := range spec.Containers {
		for _, s := range spec.Containers[i].Secrets {
			if !h.serves(s) {
				continue
			}
			if name := spec.Containers[receiver(spec, i, &s)].Name; !slices.Contains(containers, name) {
				containers = append(containers, name)
			}
		}
	}
	if containers == nil {
		return nil, nil
	}
	if spec.ExecutionCredentialsID == "" {
		return nil, fmt.Errorf("container %s has %s, which take a task execution role, and the task has none", containers[0], h.text)
	}
	return []task.Resource{{
		Name: h.kind, Text: h.text, Containers: containers, Before: task.ContainerCreated, NeedsRole: true,
	}}, nil
}

// serves reports whether the secret is one of this service that a container gets. What
// is to be mounted is not: ECS does not send it.
func (h *Hook) serves(s task.Secret) bool {
	return s.Provider == h.provider && (s.IsVariable() || s.IsLogOption())
}

// receiver is the container that gets a secret of container i: the task's FireLens
// container has the log options of those that log to it, as variables (docs/spec/02
// section 7.6).
func receiver(spec *task.Spec, i int, s *task.Secret) int {
	if s.IsLogOption() && spec.Routed(i) {
		return spec.Router()
	}
	return i
}

// Preview implements engine.Hook.
func (h *Hook) Preview(spec *task.Spec, _ *task.Resource) resource.Provided {
	return h.give(spec, func(s task.Secret) string { return "<value of " + s.ValueFrom + ">" })
}

// give puts values where the containers take them from.
func (h *Hook) give(spec *task.Spec, value func(task.Secret) string) resource.Provided {
	inputs := make([]dockerspec.Inputs, len(spec.Containers))
	for i := range inputs {
		inputs[i] = dockerspec.Inputs{Secrets: make(map[string]string), LogOptions: make(map[string]string)}
	}
	for i := range spec.Containers {
		for _, s := range spec.Containers[i].Secrets {
			switch to := receiver(spec, i, &s); {
			case !h.serves(s):
			case s.IsVariable():
				inputs[i].Secrets[s.Name] = value(s)
			case spec.Routed(i):
				inputs[to].Secrets[spec.RouterVariable(i, s.Name)] = value(s)
			default:
				inputs[i].LogOptions[s.Name] = value(s)
			}
		}
	}
	out := resource.Provided{Inputs: make(map[string]dockerspec.Inputs, len(inputs))}
	for i := range inputs {
		out.Inputs[spec.Containers[i].Name] = inputs[i]
	}
	return out
}

// Provision implements engine.Hook. After a restart of the agent, containers that have
// run already need nothing any more, and what they had may be gone.
func (h *Hook) Provision(ctx context.Context, s *task.Snapshot, _ *task.Resource) (resource.Provided, error) {
	var wanted []task.Secret
	for i := range s.Containers {
		for _, one := range s.Containers[i].Secrets {
			if !h.serves(one) || slices.Contains(wanted, one) {
				continue
			}
			if c := &s.State.Containers[receiver(s.Spec, i, &one)]; c.Known < task.ContainerRunning && c.Desired != task.ContainerStopped {
				wanted = append(wanted, one)
			}
		}
	}
	begin := time.Now()
	values, err := h.service.find(ctx, s.ExecutionCredentialsID, wanted)
	if err != nil {
		return resource.Provided{}, err
	}
	h.log.Debug("secrets fetched", zap.String("task", s.ARN), zap.String("resource", h.kind), zap.Int("count", len(values)), zap.Duration("took", time.Since(begin)))
	return h.give(s.Spec, func(s task.Secret) string { v := values[s]; return v.Reveal() }), nil
}

// CleanUp implements engine.Hook: nothing is left of values that were in memory.
func (h *Hook) CleanUp(context.Context, *task.Snapshot, *task.Resource, map[string]string) error {
	return nil
}

// errNoAnswer is for a service that answers for something else than it was asked.
var errNoAnswer = errors.New("the service did not answer for it")
