package envfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/resource/objects"
)

// Modes of what is written (docs/spec/02 section 7.5). The agent's data directory, which
// all of it is in, is its owner's alone.
const (
	folderMode = 0o755
	fileMode   = 0o600
)

// A rename may fail for a moment on Windows, while something looks at the file.
const renames = 5

// place is the path of an object's file in the folder of its task.
func place(o objects.Object) (string, error) {
	name := path.Join(o.Bucket, o.Key)
	if local := filepath.FromSlash(name); name == "." || !filepath.IsLocal(local) {
		return "", fmt.Errorf("invalid path: bucket %q key %q escapes envfile resource directory", o.Bucket, o.Key)
	}
	return filepath.FromSlash(name), nil
}

// openFolder opens the folder of a task, and makes it if need be. Nothing outside it is
// reached through what is returned.
func openFolder(base, dir string) (*os.Root, error) {
	if err := os.MkdirAll(base, folderMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	local := filepath.FromSlash(dir)
	if err := root.MkdirAll(local, folderMode); err != nil {
		return nil, err
	}
	return root.OpenRoot(local)
}

// write puts a file in its place as a whole.
func write(ctx context.Context, folder *os.Root, o objects.Object, text []byte) error {
	name, err := place(o)
	if err != nil {
		return err
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := folder.MkdirAll(dir, folderMode); err != nil {
			return err
		}
	}
	draft := "tmp_env" + uuid.NewString()
	f, err := folder.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = rename(ctx, folder, draft, name)
	}
	if err != nil {
		return errors.Join(err, folder.Remove(draft))
	}
	return nil
}

func rename(ctx context.Context, folder *os.Root, from, to string) error {
	wait := awsenv.Backoff{Min: 500 * time.Millisecond, Max: 5 * time.Second, Multiplier: 1.5}
	for try := 1; ; try++ {
		err := folder.Rename(from, to)
		if err == nil || try == renames || !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if awsenv.Sleep(ctx, wait.Next()) != nil {
			return err
		}
	}
}

// removeFolder removes the folder of a task, if it is there.
func removeFolder(base, dir string) error {
	if dir == "" {
		return nil
	}
	root, err := os.OpenRoot(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove environment files: %w", err)
	}
	defer root.Close()
	if err := root.RemoveAll(filepath.FromSlash(dir)); err != nil {
		return fmt.Errorf("remove environment files: %w", err)
	}
	return nil
}

// listFolders are the folders of tasks, as CLUSTER/TASK.
func listFolders(base string) ([]string, error) {
	root, err := os.OpenRoot(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for environment files: %w", err)
	}
	defer root.Close()
	folders, err := fs.Glob(root.FS(), "*/*")
	if err != nil {
		return nil, fmt.Errorf("look for environment files: %w", err)
	}
	return folders, nil
}
