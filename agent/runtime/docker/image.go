package docker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/versions"

	"ecsagent/agent/runtime"
)

// distributionAPI is the first API version that can ask a registry for a digest.
const distributionAPI = "1.30"

// Media types of manifests whose digest Docker makes up (docs/spec/02 section 5.2).
const (
	manifestV1       = "application/vnd.docker.distribution.manifest.v1+json"
	manifestV1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// checkReference refuses what is no image reference or id, because references
// become part of the path of a request.
func checkReference(op operation, ref string) error {
	if _, err := reference.ParseAnyReference(ref); err != nil {
		return op.refuse("invalid reference format: %q", ref)
	}
	return nil
}

// InspectImage shows a local image by reference or id.
func (c *Client) InspectImage(ctx context.Context, ref string) (runtime.Image, error) {
	op := operation{name: "CannotPullImageManifestError", label: "inspecting", limit: c.limits.ImageInspect}
	if err := checkReference(op, ref); err != nil {
		return runtime.Image{}, err
	}
	return call(ctx, op, func(ctx context.Context) (runtime.Image, error) {
		in, err := c.api().ImageInspect(ctx, ref)
		if err != nil {
			return runtime.Image{}, err
		}
		img := runtime.Image{ID: in.ID, Tags: in.RepoTags, Digests: in.RepoDigests, Size: in.Size, Created: parseTime(in.Created), Tagged: in.Metadata.LastTagTime}
		if in.Config != nil {
			img.Env = in.Config.Env
		}
		return img, nil
	})
}

// ListImages shows every tagged or dangling local image, without its environment.
func (c *Client) ListImages(ctx context.Context) ([]runtime.Image, error) {
	op := operation{name: "CannotListImagesError", label: "listing", limit: c.limits.List}
	return call(ctx, op, func(ctx context.Context) ([]runtime.Image, error) {
		all, err := c.api().ImageList(ctx, image.ListOptions{})
		if err != nil {
			return nil, err
		}
		list := make([]runtime.Image, len(all))
		for i, in := range all {
			list[i] = runtime.Image{
				ID: in.ID, Size: in.Size, Created: time.Unix(in.Created, 0).UTC(),
				Tags: named(in.RepoTags), Digests: named(in.RepoDigests),
			}
		}
		return list, nil
	})
}

// UsedImages returns the ids of the images that containers use, running or not,
// whoever made them.
func (c *Client) UsedImages(ctx context.Context) ([]string, error) {
	op := operation{name: "CannotListContainersError", label: "listing", limit: c.limits.List}
	return call(ctx, op, func(ctx context.Context) ([]string, error) {
		all, err := c.api().ContainerList(ctx, container.ListOptions{All: true})
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(all))
		for i := range all {
			ids[i] = all[i].ImageID
		}
		slices.Sort(ids)
		return slices.Compact(ids), nil
	})
}

// named drops the <none> entries of a list.
func named(refs []string) []string {
	var out []string
	for _, r := range refs {
		if !strings.Contains(r, "<none>") {
			out = append(out, r)
		}
	}
	return out
}

// RemoveImage removes a reference, and the image behind it when it was the last
// one. An image that a container uses is a failure of kind runtime.ErrConflict.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	op := operation{name: "CannotRemoveImageError", label: "removing image", limit: c.limits.RemoveImage}
	if err := checkReference(op, ref); err != nil {
		return err
	}
	return run(ctx, op, func(ctx context.Context) error {
		_, err := c.api().ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
		return err
	})
}

// Tag gives the image known as source the further name target.
func (c *Client) Tag(ctx context.Context, source, target string) error {
	op := operation{name: namePull, label: "pulled", limit: c.limits.Tag}
	for _, ref := range []string{source, target} {
		if err := checkReference(op, ref); err != nil {
			return err
		}
	}
	return run(ctx, op, func(ctx context.Context) error { return c.api().ImageTag(ctx, source, target) })
}

// DistributionDigest asks the registry, once, for the digest of a reference. It is
// empty when the engine is too old to ask or when the manifest has no digest of
// its own (docs/spec/02 section 5.2).
func (c *Client) DistributionDigest(ctx context.Context, ref string, auth *runtime.RegistryAuth) (string, error) {
	op := operation{name: "CannotPullImageManifestError", label: "MANIFEST_PULLED", limit: c.limits.Manifest, registry: true}
	if err := checkReference(op, ref); err != nil {
		return "", err
	}
	if versions.LessThan(c.session.Load().version.API, distributionAPI) {
		return "", nil
	}
	return call(ctx, op, func(ctx context.Context) (string, error) {
		header, err := authHeader(auth)
		if err != nil {
			return "", err
		}
		in, err := c.api().DistributionInspect(ctx, ref, header)
		if err != nil {
			return "", err
		}
		switch in.Descriptor.MediaType {
		case manifestV1, manifestV1Signed:
			return "", nil
		}
		return in.Descriptor.Digest.String(), nil
	})
}

// authHeader encodes a login for Docker; nil is no login.
func authHeader(auth *runtime.RegistryAuth) (string, error) {
	if auth == nil {
		return "", nil
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{
		Username:      auth.Username,
		Password:      auth.Password.Reveal(),
		ServerAddress: auth.ServerAddress,
	})
}
