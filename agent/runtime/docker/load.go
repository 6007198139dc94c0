package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/client"

	"ecsagent/agent/runtime"
)

// ImageContent shows what a local image is made of.
func (c *Client) ImageContent(ctx context.Context, ref string) (runtime.ImageContent, error) {
	op := operation{name: "CannotPullImageManifestError", label: "inspecting", limit: c.limits.ImageInspect}
	if err := checkReference(op, ref); err != nil {
		return runtime.ImageContent{}, err
	}
	return call(ctx, op, func(ctx context.Context) (runtime.ImageContent, error) {
		in, err := c.api().ImageInspect(ctx, ref)
		if err != nil {
			return runtime.ImageContent{}, err
		}
		content := runtime.ImageContent{ID: in.ID, Layers: in.RootFS.Layers}
		if in.Config != nil {
			content.Command = append(append([]string(nil), in.Config.Entrypoint...), in.Config.Cmd...)
		}
		return content, nil
	})
}

// LoadImage loads the images of an archive.
func (c *Client) LoadImage(ctx context.Context, archive io.Reader) error {
	op := operation{name: "CannotPullContainerError", label: "pulled", limit: c.limits.PullBegin}
	return run(ctx, op, func(ctx context.Context) error {
		loaded, err := c.api().ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
		if err != nil {
			return err
		}
		err = loadError(loaded.Body)
		return errors.Join(err, loaded.Body.Close())
	})
}

// loadError reads the progress of a load to its end. Docker tells failures there.
func loadError(progress io.Reader) error {
	d := json.NewDecoder(progress)
	for {
		var line struct{ Error string }
		switch err := d.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the progress of the load: %w", err)
		case line.Error != "":
			return errors.New(line.Error)
		}
	}
}
