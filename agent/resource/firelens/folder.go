package firelens

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/task"
)

// What is in the folder of a task.
const (
	configFolder = "config" // the socket's folder is dockerspec.SocketFolder
	configFile   = "fluent.conf"
	externalFile = "external.conf"
)

// Modes of what is written. The agent's data directory, which all of it is in, is its
// owner's alone; the files are read in the container by whatever user it has.
const (
	folderMode = 0o755
	fileMode   = 0o644
)

// openFolder makes the folder of a task if need be, gives the folder of the socket to the
// container's user and opens that of the files. Nothing outside it is reached through
// what is returned.
func openFolder(base, id string, router *task.Container, ownGroup int) (*os.Root, error) {
	uid, gid, ok, err := ownerOf(router, ownGroup)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(base, folderMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	config, socket := filepath.Join(id, configFolder), filepath.FromSlash(dockerspec.SocketFolder("", id))
	for _, dir := range []string{config, socket} {
		if err := root.MkdirAll(dir, folderMode); err != nil {
			return nil, err
		}
	}
	if ok {
		if err := root.Chown(socket, uid, gid); err != nil {
			return nil, err
		}
	}
	return root.OpenRoot(config)
}

// maxID is the largest id of users and groups; the one above it stands for none.
const maxID = 1<<32 - 2

// ownerOf is whose the socket is: the user of the container's definition. ok is false
// where it names none. Names mean something inside the image alone.
func ownerOf(router *task.Container, ownGroup int) (uid, gid int, ok bool, err error) {
	var config struct{ User string }
	if router.DockerConfig != "" {
		_ = json.Unmarshal([]byte(router.DockerConfig), &config) // what cannot be read fails the container
	}
	if config.User == "" {
		return 0, 0, false, nil
	}
	user, group, _ := strings.Cut(config.User, ":")
	u, err := parseID(user)
	if err != nil {
		return 0, 0, false, fmt.Errorf("user %q of container %s: want the number of a user, alone or with a group as in 1000:1000", config.User, router.Name)
	}
	gid = ownGroup
	if g, err := parseID(group); err == nil {
		gid = g
	}
	return u, gid, true, nil
}

func parseID(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n > maxID {
		err = strconv.ErrRange
	}
	return int(n), err
}

// write puts a file in its place as a whole, and on the disk. Nobody else writes in the
// folder, so that a draft is always the last one's.
func write(folder *os.Root, name string, text []byte) error {
	draft := name + ".new"
	f, err := folder.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(fileMode) // whatever the umask is
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return folder.Rename(draft, name)
}

// removeFolder removes the folder of a task, if it is there.
func removeFolder(base, id string) error {
	root, err := os.OpenRoot(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer root.Close()
		err = root.RemoveAll(id)
	}
	if err != nil {
		return fmt.Errorf("remove firelens folder: %w", err)
	}
	return nil
}

// listFolders are the ids of tasks that have a folder.
func listFolders(base string) ([]string, error) {
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for firelens folders: %w", err)
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, nil
}
