// Package pause keeps the pause image in Docker as the archive that comes with the
// agent has it (docs/spec/05 section 3.2). The image holds namespaces of tasks: those
// of PID and IPC for pidMode and ipcMode "task", that of the network for awsvpc.
package pause

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
)

// Image is the pause image's name; a configured one replaces it for networks only
// (docs/spec/02 section 4.7).
const Image = "amazon/amazon-ecs-pause:0.1.0"

// Engine is Docker, as far as it is needed.
type Engine interface {
	ImageContent(ctx context.Context, ref string) (runtime.ImageContent, error)
	LoadImage(ctx context.Context, archive io.Reader) error
}

// Loader loads the pause image, or another one of the agent's, from its archive.
type Loader struct {
	Name    string // of the image; empty is Image
	Engine  Engine
	Archive string // file; one that is not there leaves the image as it is
	Log     *zap.Logger
}

// Ensure makes the image be there, with the archive's content. An error says why
// the image is not there.
func (l *Loader) Ensure(ctx context.Context) error {
	name := cmp.Or(l.Name, Image)
	has, err := l.Engine.ImageContent(ctx, name)
	missing := errors.Is(err, runtime.ErrNotFound)
	if err != nil && !missing {
		return fmt.Errorf("look for the image %s: %w", name, err)
	}
	f, err := os.Open(l.Archive)
	if errors.Is(err, fs.ErrNotExist) && !missing {
		return nil // somebody else looks after it
	}
	if err != nil {
		return l.without(missing, fmt.Errorf("open the archive of the image %s: %w", name, err))
	}
	defer f.Close() //nolint:errcheck // it was only read
	want, err := contentOf(f, name)
	if err != nil {
		return l.without(missing, fmt.Errorf("read the archive %q of the image %s: %w", l.Archive, name, err))
	}
	if !missing && same(&has, want) {
		return nil
	}
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		err = l.Engine.LoadImage(ctx, f)
	}
	if err == nil {
		has, err = l.Engine.ImageContent(ctx, name)
	}
	if err == nil && !same(&has, want) {
		err = fmt.Errorf("the archive %q has no image %s", l.Archive, name)
	}
	if err != nil {
		return l.without(missing, fmt.Errorf("load the image %s: %w", name, err))
	}
	l.Log.Info("image loaded", zap.String("image", name), zap.String("id", has.ID))
	return nil
}

// Check says what is wrong with the archive, as far as that shows without loading it.
func (l *Loader) Check() error {
	f, err := os.Open(l.Archive)
	if err != nil {
		return fmt.Errorf("open the archive of the image %s: %w", l.Name, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if _, err := contentOf(f, cmp.Or(l.Name, Image)); err != nil {
		return fmt.Errorf("read the archive %q of the image %s: %w", l.Archive, l.Name, err)
	}
	return nil
}

// without is the answer to an archive that cannot be used: the image that is there
// does, should there be one.
func (l *Loader) without(missing bool, err error) error {
	if missing {
		return err
	}
	l.Log.Warn("image not compared with its archive", zap.Error(err))
	return nil
}

// same reports whether two images are made of the same. Their ids differ where Docker
// keeps images in containerd.
func same(a, b *runtime.ImageContent) bool {
	return a.ID == b.ID || len(a.Layers) > 0 && slices.Equal(a.Layers, b.Layers) && slices.Equal(a.Command, b.Command)
}
