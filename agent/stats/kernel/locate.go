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

// anyID stands for the container's id in Source.elsewhere.
const anyID = "*"

// locate finds the cgroup of a container below the mount point of a hierarchy: where
// Docker puts it with either driver, by itself or below a task's cgroup
// (docs/spec/02 section 4.10), or where one was found last; else, by its id, wherever it
// is. That is a walk through all cgroups of the host, which a container is not worth that
// was found before: it has ended.
func (s *Source) locate(root string, t stats.Target) (string, error) {
	scope := "docker-" + t.ID + ".scope"
	places := make([]string, 0, 5)
	if id := t.TaskID; id != "" && filepath.IsLocal(id) && !strings.ContainsAny(id, `/\`) {
		slice := "ecstasks-" + strings.ReplaceAll(id, "-", `\x2d`) + ".slice"
		places = append(places, filepath.Join("ecs", id, t.ID), filepath.Join("ecstasks.slice", slice, scope))
	}
	places = append(places, filepath.Join("docker", t.ID), filepath.Join("system.slice", scope))
	if s.elsewhere != "" {
		places = append(places, strings.ReplaceAll(s.elsewhere, anyID, t.ID))
	}
	for _, dir := range places {
		if info, err := os.Stat(filepath.Join(root, dir)); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	if t.Again {
		return "", fmt.Errorf("%w: %s below %s any more", errNoCgroup, t.ID, root)
	}
	dir, err := search(root, t.ID)
	if err == nil && !strings.Contains(dir, anyID) {
		s.elsewhere = strings.ReplaceAll(dir, t.ID, anyID)
	}
	return dir, err
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
