package session

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Folders are where the agents in containers and their logs are, below the folder of ECS
// Exec of a local ECS: what the container agent is told with ECS_MANAGED_AGENTS_DIR and
// ECS_TASK_LOG_DIR.
func Folders(dir string) (agents, taskLogs, execLogs string) {
	return dir, filepath.Join(dir, "log"), filepath.Join(dir, "log", "exec")
}

// agentVersion is the folder of the version that is installed.
const agentVersion = "1.0"

// Install puts a program in the place of the SSM agent's programs below dir, with what
// else the container agent wants to find there. It may be repeated, also while containers
// run the one before.
func Install(dir, program string) error {
	home := filepath.Join(dir, "execute-command")
	bin, certs := filepath.Join(home, "bin", agentVersion), filepath.Join(home, "certs")
	for _, d := range []string{bin, certs, filepath.Join(home, "config")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("install the agent of ECS Exec: %w", err)
		}
	}
	for _, name := range []string{"ssm-agent-worker", "ssm-session-worker", "amazon-ssm-agent"} {
		if err := copyFile(program, filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("install the agent of ECS Exec: %w", err)
		}
	}
	note := []byte("# The agent of the local ECS speaks to it over a socket and needs no certificates.\n")
	if err := os.WriteFile(filepath.Join(certs, "tls-ca-bundle.pem"), note, 0o644); err != nil {
		return fmt.Errorf("install the agent of ECS Exec: %w", err)
	}
	return nil
}

// copyFile replaces a program as a whole: the one before may run.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".new-")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(0o755)
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		_ = os.Remove(out.Name())
	}
	return err
}
