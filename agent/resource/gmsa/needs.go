package gmsa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ecsagent/agent/resource"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

// Values reads secrets; *secrets.Hook does.
type Values interface {
	Find(ctx context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error)
}

// Sources are where credential specs are, besides files.
type Sources struct {
	Objects    *objects.Reader
	Parameters Values // of Parameter Store
}

// fetchLimit bounds the fetch of one spec, all attempts together.
const fetchLimit = time.Minute

// errNoRole is for credentials that are needed, and are not there.
var errNoRole = errors.New("credentialspec resource: unable to find execution role credentials")

// fetch reads a spec that is no file.
func (s *Sources) fetch(ctx context.Context, credentialsID string, r *reference) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	if r.source == fromS3 {
		return s.Objects.One(ctx, credentialsID, r.object)
	}
	value, err := find(ctx, s.Parameters, credentialsID, task.Secret{Name: "credentialspec", ValueFrom: r.arn(), Provider: "ssm"})
	return []byte(value.Reveal()), err
}

// find reads one value.
func find(ctx context.Context, values Values, credentialsID string, wanted task.Secret) (secret.String, error) {
	found, err := values.Find(ctx, credentialsID, []task.Secret{wanted})
	if err != nil {
		return "", err
	}
	return found[wanted], nil
}

// each calls f for each container with a spec.
func each(spec *task.Spec, place place, f func(c *task.Container, i int, r *reference) error) error {
	for i := range spec.Containers {
		r, ok, err := referenceOf(&spec.Containers[i], place)
		if err == nil && ok {
			err = f(&spec.Containers[i], i, &r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// needs lists what a task needs: one resource for all its specs, which must be offered.
func needs(spec *task.Spec, place place, offered func(*reference) error) ([]task.Resource, error) {
	r := task.Resource{Name: "credentialspec", Text: "credential specs", Before: task.ContainerCreated}
	err := each(spec, place, func(c *task.Container, _ int, ref *reference) error {
		if err := offered(ref); err != nil {
			return fmt.Errorf("credential spec %q of container %s: %w", ref.text, c.Name, err)
		}
		if !resource.IsElement(spec.ID()) {
			return fmt.Errorf("task id %q cannot name a credential spec", spec.ID())
		}
		r.Containers = append(r.Containers, c.Name)
		r.NeedsRole = r.NeedsRole || ref.source != fromFile || ref.domainless
		return nil
	})
	if err != nil || r.Containers == nil {
		return nil, err
	}
	if r.NeedsRole && spec.ExecutionCredentialsID == "" {
		return nil, errNoRole
	}
	return []task.Resource{r}, nil
}
