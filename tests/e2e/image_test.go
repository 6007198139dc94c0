package e2e

import (
	"crypto/sha256"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"ecsagent/tests/image"
)

// bigImage has a layer of 4 MiB that does not compress; a seed makes it another one.
func bigImage(seed string) (v1.Image, error) {
	var data []byte
	sum := sha256.Sum256([]byte(seed))
	for len(data) < 4<<20 {
		data = append(data, sum[:]...)
		sum = sha256.Sum256(sum[:])
	}
	return image.Build([]image.File{{Path: "/data", Data: data}}, v1.Config{Cmd: []string{"/data"}})
}

// toolsWith is an image with a shell and a layer that no other seed has.
func toolsWith(seed string) (v1.Image, error) {
	tools, err := image.Busybox(v1.Config{Cmd: []string{"sleep", "3600"}})
	if err != nil {
		return nil, err
	}
	big, err := bigImage(seed)
	if err != nil {
		return nil, err
	}
	layers, err := big.Layers()
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(tools, layers...)
}
