package explain

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ecsagent/agent/image"
	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Image is how a container's image is got.
type Image struct {
	Reference string            `json:"reference"`
	Behavior  task.PullBehavior `json:"-"`
	Pull      string            `json:"pull"` // the pull behaviour
	Login     string            `json:"login,omitempty"`
	Calls     []string          `json:"calls,omitempty"` // what Docker is asked for when no image is there
	Upfront   bool              `json:"upfront,omitempty"`
}

// noDigest stands for the digest that the registry would give.
const noDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// image asks the puller for the image as the engine would, on an engine that has no
// image and takes notes.
func (e *explainer) image(ctx context.Context, i int) (Image, error) {
	c := &e.spec.Containers[i]
	out := Image{Reference: c.Image, Behavior: e.s.Pull, Pull: e.s.Pull.String(), Upfront: e.s.PullUpfront}
	if !c.Pulled() {
		out.Pull = "never"
		return out, nil
	}
	notes := &noter{}
	puller := image.New(image.Options{
		Engine: notes, Behavior: e.s.Pull, Upfront: e.s.PullUpfront,
		Logins: image.Logins{Engine: e.s.Registries, ECR: notes, Secrets: notes},
	})
	defer puller.Close()
	request := image.Request{Ref: c.Image, Auth: c.RegistryAuth, ExecutionCredentialsID: e.spec.ExecutionCredentialsID}
	digest, err := puller.Digest(ctx, request)
	if err != nil {
		return out, err
	}
	request.Digest = digest
	if _, err := puller.Ensure(ctx, request); err != nil {
		return out, err
	}
	out.Calls, out.Login = notes.calls, notes.login
	return out, nil
}

// noter is an engine without images, and the sources of logins, that write down what
// they are asked for. The puller's calls for one image follow each other.
type noter struct {
	calls []string
	here  bool // the image was pulled
	login string
	role  string // how the login was got
}

func (n *noter) note(format string, args ...any) {
	call := withoutDigest(fmt.Sprintf(format, args...))
	if len(n.calls) == 0 || n.calls[len(n.calls)-1] != call {
		n.calls = append(n.calls, call)
	}
}

func (n *noter) with(auth *runtime.RegistryAuth) {
	switch {
	case n.login != "":
	case n.role != "":
		n.login = n.role
	case auth != nil:
		n.login = fmt.Sprintf("user %s at %s, from ECS_ENGINE_AUTH_DATA", auth.Username, auth.ServerAddress)
	}
}

// InspectImage implements image.Engine: no image is here before its pull.
func (n *noter) InspectImage(_ context.Context, ref string) (runtime.Image, error) {
	if n.here {
		return runtime.Image{ID: noDigest}, nil
	}
	return runtime.Image{}, fmt.Errorf("image %s: %w", ref, runtime.ErrNotFound)
}

// DistributionDigest implements image.Engine.
func (n *noter) DistributionDigest(_ context.Context, ref string, auth *runtime.RegistryAuth) (string, error) {
	n.with(auth)
	n.note("ask the registry for the digest of %s", ref)
	return noDigest, nil
}

// Pull implements image.Engine.
func (n *noter) Pull(_ context.Context, ref string, auth *runtime.RegistryAuth, _ func(runtime.PullProgress)) error {
	n.with(auth)
	n.note("pull %s", ref)
	n.here = true
	return nil
}

// Tag implements image.Engine.
func (n *noter) Tag(_ context.Context, source, target string) error {
	n.note("tag %s as %s", source, target)
	return nil
}

// Token implements image.ECRTokens.
func (n *noter) Token(_ context.Context, r image.ECRRequest) (image.ECRToken, error) {
	with := "the instance's role"
	if r.CredentialsID != "" {
		with = "the task's execution role"
	}
	n.role = strings.TrimRight(fmt.Sprintf("ECR registry %s in %s, with %s %s", r.RegistryID, r.Region, with, r.Endpoint), " ")
	return image.ECRToken{Username: "AWS", ExpiresAt: time.Now().Add(24 * time.Hour)}, nil
}

// Login implements image.RegistrySecrets.
func (n *noter) Login(_ context.Context, a task.ASMAuth, _ string) (runtime.RegistryAuth, error) {
	n.role = fmt.Sprintf("secret %s in %s, with the task's execution role", a.CredentialsParameter, a.Region)
	return runtime.RegistryAuth{}, nil
}
