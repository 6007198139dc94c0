package runtime

import (
	"time"

	"ecsagent/agent/secret"
)

// Image is what the runtime shows of a local image.
type Image struct {
	ID      string
	Tags    []string // references
	Digests []string // repository@sha256:...
	Env     []string // K=V, as the image's configuration sets them; absent in a list
	Size    int64
	Created time.Time // absent when the image does not say
	// Tagged is when the image last got a name here; absent in a list and where the
	// runtime does not tell.
	Tagged time.Time
}

// PullProgress is how far a pull is. Layers that are here already count as complete;
// bytes are those of layers whose download has begun.
type PullProgress struct {
	Layers, Complete int
	Bytes, Total     int64
}

// RegistryAuth is a login at a registry.
type RegistryAuth struct {
	Username      string
	Password      secret.String
	ServerAddress string
}

// ImageContent is what a local image is made of.
type ImageContent struct {
	ID      string   // the digest of its configuration, or of its manifest
	Layers  []string // digests of their content
	Command []string // entry point and arguments
}
