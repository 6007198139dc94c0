package prepare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ecsagent/ecsinit/step"
)

// folder is one that must be there.
type folder struct {
	path string
	mode fs.FileMode
}

func (h Host) folders() step.Step {
	c := h.Config
	list := []folder{
		{c.DataDir, 0o700},
		{"/var/log/ecs", 0o755},
		{"/var/log/ecs/exec", 0o755},
		{c.UpdateDownloadDir, 0o755},
		{"/var/lib/ecs/deps/execute-command/config", 0o755},
	}
	if c.Log.File != "" {
		list = append(list, folder{filepath.Dir(c.Log.File), 0o755})
	}
	return h.makeFolders("folders", false, list)
}

// mounts is where volumes of EBS are mounted; without it there is none of them, and the
// agent does the rest.
func (h Host) mounts() step.Step {
	return h.makeFolders("folder of volumes", true, []folder{{"/mnt/ecs/ebs", 0o755}})
}

func (h Host) makeFolders(name string, optional bool, list []folder) step.Step {
	var missing []folder
	return step.Step{
		Name: name, Optional: optional,
		Plan: func(context.Context) (plan []string, err error) {
			missing = nil
			planned := map[string]bool{}
			for _, f := range list {
				if f.path == "" || planned[f.path] {
					continue
				}
				path := h.path(f.path)
				info, err := os.Stat(path)
				switch {
				case errors.Is(err, fs.ErrNotExist):
					planned[f.path] = true
					missing = append(missing, folder{path, f.mode})
					plan = append(plan, fmt.Sprintf("make %s, mode %04o", path, f.mode))
				case err != nil:
					return nil, err
				case !info.IsDir():
					return nil, fmt.Errorf("%s is no folder: move it away", path)
				}
			}
			return plan, nil
		},
		Do: func(context.Context) error {
			for _, f := range missing {
				if err := os.MkdirAll(f.path, 0o755); err != nil {
					return err
				}
				if err := os.Chmod(f.path, f.mode); err != nil { // whatever the umask says
					return err
				}
			}
			return nil
		},
	}
}
