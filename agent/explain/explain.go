package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/engine"
	"ecsagent/agent/image"
	"ecsagent/agent/task"
)

// Settings are those of the daemon that decide about what Docker is asked for.
type Settings struct {
	Intake task.Intake
	Hooks  []engine.Hook // only their pure methods are called
	// Network says what of an awsvpc task's network cannot be; nil: no such task runs.
	Network     func(*task.Spec) error
	Env         dockerspec.Env
	Pull        task.PullBehavior
	PullUpfront bool
	StopTimeout time.Duration // of containers without their own
	Registries  *image.Registries
}

// Task is what becomes of one task.
type Task struct {
	ARN           string `json:"taskArn,omitempty"`
	Family        string `json:"family,omitempty"`
	Revision      string `json:"revision,omitempty"`
	DesiredStatus string `json:"desiredStatus,omitempty"`
	// Reason is why the task is stopped instead of run, as ECS shows it.
	Reason string `json:"reason,omitempty"`
	// Idle says why nothing is done although nothing is wrong.
	Idle       string      `json:"idle,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"`
	Volumes    []Volume    `json:"volumes,omitempty"`
	Resources  []Resource  `json:"resources,omitempty"`
	Containers []Container `json:"containers,omitempty"` // in start order
	StopOrder  []Stop      `json:"stopOrder,omitempty"`
}

// Reasons are those that ECS would show, of the task and of its containers.
func (t *Task) Reasons() []string {
	var list []string
	if t.Reason != "" {
		list = append(list, t.Reason)
	}
	for i := range t.Volumes {
		if r := t.Volumes[i].Reason; r != "" {
			list = append(list, r)
		}
	}
	for i := range t.Containers {
		if r := t.Containers[i].Reason; r != "" {
			list = append(list, r)
		}
	}
	return list
}

// Container is what is done for one container.
type Container struct {
	Name      string `json:"name"`
	Essential bool   `json:"essential"`
	// Stage orders the starts: containers of one stage may start at the same time.
	Stage int `json:"stage"`
	// Reason is why the container stops instead of starting, as ECS shows it.
	Reason   string   `json:"reason,omitempty"`
	WaitsFor []Wait   `json:"waitsFor,omitempty"`
	Image    Image    `json:"image"`
	Create   *Create  `json:"create,omitempty"`
	Restart  *Restart `json:"restart,omitempty"`
}

// Wait is what must be before a container is pulled, created and started.
type Wait struct {
	Container string         `json:"container,omitempty"`
	Condition task.Condition `json:"condition,omitempty"`
	Volume    string         `json:"volume,omitempty"`
	Resource  string         `json:"resource,omitempty"`
	// Within limits how long the other container may take, in seconds from its start.
	Within float64 `json:"withinSeconds,omitempty"`
}

// Create is the create call.
type Create struct {
	Name string         `json:"name"`
	Body map[string]any `json:"body"` // the members that are set
}

// Restart is the restart policy, which the agent carries out itself
// (docs/spec/02 section 8.3).
type Restart struct {
	IgnoredExitCodes []int   `json:"ignoredExitCodes,omitempty"`
	AttemptPeriod    float64 `json:"attemptPeriodSeconds"`
}

// Stop is the stop call of one container.
type Stop struct {
	Container string `json:"container"`
	// Stage orders the stops: containers of one stage may stop at the same time.
	Stage int `json:"stage"`
	// After are the containers that must have stopped before.
	After   []string `json:"after,omitempty"`
	Timeout float64  `json:"timeoutSeconds"` // from the signal to SIGKILL
	Signal  string   `json:"signal,omitempty"`
}

// Read finds the tasks in a document: a task as ACS sends it, a frame with a
// PayloadMessage, or the message of one.
func Read(document []byte) ([]json.RawMessage, error) {
	var outer struct {
		Type    string
		Message json.RawMessage
		Tasks   json.RawMessage
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(document, &object); err != nil {
		return nil, fmt.Errorf("want a JSON object, a task as ACS sends it or a payload: %w", err)
	}
	// What does not fit is no frame; the task's own decoder will say what is wrong.
	_ = json.Unmarshal(document, &outer)
	frame := document
	switch {
	case outer.Type != "":
	case outer.Tasks != nil:
		var err error
		if frame, err = json.Marshal(map[string]any{"type": wire.TypePayload, "message": json.RawMessage(document)}); err != nil {
			return nil, fmt.Errorf("read payload: %w", err)
		}
	default:
		return []json.RawMessage{document}, nil
	}
	message, err := wire.Decode(frame)
	if err != nil {
		return nil, err
	}
	payload, ok := message.(wire.Payload)
	if !ok {
		return nil, fmt.Errorf("the frame is of type %q: want a %s", outer.Type, wire.TypePayload)
	}
	return payload.Tasks, nil
}

// Explain tells what the agent would do for one task that it does not know yet.
func Explain(ctx context.Context, raw json.RawMessage, s Settings) Task {
	decoded, err := wire.ParseTask(raw)
	out := Task{ARN: decoded.ARN}
	if err != nil {
		return out.rejected(err)
	}
	desired, err := decoded.Desired()
	if err != nil {
		return out.rejected(err)
	}
	out.DesiredStatus = desired.String()
	spec, warnings, err := decoded.Spec()
	out.Warnings = warnings
	if err != nil {
		return out.rejected(err)
	}
	out.Family, out.Revision = spec.Family, spec.Version
	if desired < task.Created || desired == task.Stopped {
		out.Idle = "the desired status is " + desired.String() + ": nothing is started"
		return out
	}
	accepted, reason := engine.Acceptance(s.Intake, s.Hooks, s.Network, spec)
	if reason != "" {
		out.Reason = cut(reason)
		return out
	}
	e := explainer{s: s, spec: accepted, st: placeholders(accepted)}
	out.Volumes = e.volumes()
	out.Resources = e.resources()
	out.Containers = e.containers(ctx)
	out.StopOrder = e.stopOrder()
	return out
}

func (t Task) rejected(cause error) Task {
	t.Reason = wire.RejectionReason(cause)
	return t
}

// explainer is one accepted task being explained.
type explainer struct {
	s    Settings
	spec *task.Spec
	st   *task.State
}

func (e *explainer) containers(ctx context.Context) []Container {
	stages := startStages(e.spec)
	list := make([]Container, 0, len(e.spec.Containers))
	for _, i := range inOrder(stages) {
		c := e.container(ctx, i)
		c.Stage = stages[i]
		list = append(list, c)
	}
	return list
}

func (e *explainer) container(ctx context.Context, i int) Container {
	c := &e.spec.Containers[i]
	out := Container{Name: c.Name, Essential: c.Essential, WaitsFor: e.waits(i)}
	if r := c.Restart; r != nil && r.Enabled {
		out.Restart = &Restart{IgnoredExitCodes: r.IgnoredExitCodes, AttemptPeriod: r.AttemptPeriod.Seconds()}
	}
	var err error
	if out.Image, err = e.image(ctx, i); err != nil {
		out.Reason = shown(err)
		return out
	}
	if out.Create, err = e.create(i); err != nil {
		out.Reason = shown(err)
	}
	return out
}

func (e *explainer) create(i int) (*Create, error) {
	request, err := dockerspec.Build(e.spec, i, e.st, engine.Preview(e.s.Hooks, e.spec, e.spec.Containers[i].Name), e.s.Env)
	if err != nil {
		return nil, err
	}
	e.namePorts(i, request.HostConfig)
	body, err := members(request)
	if err != nil {
		return nil, err
	}
	return &Create{Name: request.Name, Body: body}, nil
}

// shown is how ECS shows an error.
func shown(err error) string {
	reason := (*task.Error)(nil)
	if !errors.As(err, &reason) {
		reason = &task.Error{Name: "CannotCreateContainerError", Message: err.Error()}
	}
	return cut(reason.Error())
}

// cut shortens a reason to what ECS takes.
func cut(reason string) string {
	if len(reason) > wire.MaxReason {
		reason = strings.ToValidUTF8(reason[:wire.MaxReason], "")
	}
	return reason
}
