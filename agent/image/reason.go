package image

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// Names of failures (docs/spec/02 section 6.2).
const (
	namePull     = "CannotPullContainerError"
	nameECR      = "CannotPullECRContainerError"
	nameAuth     = "CannotPullContainerAuthError"
	nameManifest = "CannotPullImageManifestError"
)

func failure(name, message string, kind, cause error) error {
	return &runtime.Failure{Reason: task.Error{Name: name, Message: message}, Kind: kind, Cause: cause}
}

// What is needed only where a pull fails is compiled when the first one does.
var (
	// layerURL matches the URLs of ECR's layer buckets, which carry a signature.
	layerURL = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"?https\S+starport-layer-bucket\S+`) })
	advice   = sync.OnceValue(advices)
)

// advised is a text of a registry, and what is put before it (docs/spec/02 section 6.4).
type advised struct {
	pattern *regexp.Regexp
	prefix  string
}

func advices() []advised {
	return []advised{
		{
			regexp.MustCompile(`denied: User: .+ is not authorized to perform: ecr:BatchGetImage on resource`),
			"The task can’t pull the image. Check that the role has the permissions to pull images from the registry.",
		},
		{
			regexp.MustCompile(`denied: requested access to the resource is denied`),
			"The task can’t pull the image. Check whether the image exists.",
		},
		{
			regexp.MustCompile(`request canceled while waiting for connection`),
			"The task can’t pull the image. Check your network configuration.",
		},
	}
}

// explain makes the reason of a failed pull or digest fit to be shown: secrets in
// URLs are replaced, and some texts of registries get advice (docs/spec/02
// sections 6.3 and 6.4). Every error leaves with a name.
func explain(err error, name, image string) error {
	if err == nil {
		return nil
	}
	var secret *SecretError
	if errors.As(err, &secret) {
		return secret
	}
	var reason *task.Error
	if !errors.As(err, &reason) {
		reason = &task.Error{Name: name, Message: err.Error()}
	}
	shown := *reason
	if shown.Name == "" {
		shown.Name = name
	}
	shown.Message = layerURL().ReplaceAllLiteralString(shown.Message, "REDACTED ECR URL related to "+image)
	if shown.Name == namePull || shown.Name == nameECR {
		for _, a := range advice() {
			if a.pattern.MatchString(shown.Message) && !strings.HasPrefix(shown.Message, a.prefix) {
				shown.Message = a.prefix + " " + shown.Message
				break
			}
		}
	}
	return &runtime.Failure{Reason: shown, Kind: kindOf(err)}
}

// kindOf keeps what callers act on. The rest of the chain is dropped with the
// secrets that its texts may hold.
func kindOf(err error) error {
	for _, kind := range []error{
		runtime.ErrNotFound, runtime.ErrDenied, runtime.ErrInvalid, runtime.ErrTimeout, runtime.ErrUnavailable,
		runtime.ErrConflict, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}
