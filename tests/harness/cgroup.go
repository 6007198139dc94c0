package harness

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// CgroupDirs are the cgroups of a task below the mount point, where Docker makes
// cgroups without systemd.
func CgroupDirs(taskARN string) []string {
	id := path.Base(taskARN)
	if id == "." || id == "/" {
		return nil
	}
	var dirs []string
	for _, pattern := range []string{"ecs", "*/ecs"} {
		found, _ := filepath.Glob(path.Join("/sys/fs/cgroup", pattern, id))
		dirs = append(dirs, found...)
	}
	return dirs
}

// removeCgroups removes what agents that were ended in the middle left of tasks.
func removeCgroups(taskARNs []string) {
	for _, arn := range taskARNs {
		for _, dir := range CgroupDirs(arn) {
			if strings.Contains(dir, "/ecs/") {
				_ = os.Remove(dir) // one that is in use belongs to a test that has failed already
			}
		}
	}
}
