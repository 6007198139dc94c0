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
}

// RegistryAuth is a login at a registry.
type RegistryAuth struct {
	Username      string
	Password      secret.String
	ServerAddress string
}
