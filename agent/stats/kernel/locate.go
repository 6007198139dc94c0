package kernel

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ecsagent/agent/stats"
)

// Bounds of the search for a cgroup in an unusual place.
const (
	maxDepth = 8
	maxDirs  = 20_000
)

// locate finds the cgroup of a container below the mount point of a hierarchy: where
// Docker puts it with either driver, by itself or below a task's cgroup
// (docs/spec/02 section 4.10); else, by its id, wherever it is.
func locate(root string, t stats.Target) (string, error) {
	scope := "docker-" + t.ID + ".scope"
	places := []string{filepath.Join("docker", t.ID), filepath.Join("system.slice", scope)}
	if id := t.TaskID; id != "" && filepath.IsLocal(id) && !strings.ContainsAny(id, `/\`) {
		slice := "ecstasks-" + strings.ReplaceAll(id, "-", `\x2d`) + ".slice"
		places = append(places, filepath.Join("ecs", id, t.ID), filepath.Join("ecstasks.slice", slice, scope))
	}
	for _, dir := range places {
		if info, err := os.Stat(filepath.Join(root, dir)); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return search(root, t.ID)
}

// search looks through the tree for a cgroup that is named after the container.
func search(root, id string) (string, error) {
	found, dirs := "", 0
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if e != nil && e.IsDir() {
				return fs.SkipDir // it vanished meanwhile
			}
			return nil
		}
		if !e.IsDir() || name == root {
			return nil
		}
		if strings.Contains(e.Name(), id) {
			found = name
			return fs.SkipAll
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if dirs++; dirs > maxDirs {
			return fs.SkipAll
		}
		if strings.Count(rel, string(filepath.Separator))+1 >= maxDepth {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("find cgroup of container %s: %w", id, err)
	}
	if found == "" {
		return "", fmt.Errorf("%w: %s below %s", errNoCgroup, id, root)
	}
	return filepath.Rel(root, found)
}
