package harness

import (
	"fmt"
	"os"
	"path/filepath"
)

// InstallExec lays out below a folder of managed agents what ECS Exec needs, with a script
// in the place of the SSM agent's programs.
func InstallExec(dir, version, script string) error {
	bin := filepath.Join(dir, "execute-command", "bin", version)
	certs := filepath.Join(dir, "execute-command", "certs")
	for _, d := range []string{bin, certs} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("install the exec agent: %w", err)
		}
	}
	for _, file := range []string{
		filepath.Join(bin, "amazon-ssm-agent"), filepath.Join(bin, "ssm-agent-worker"), filepath.Join(bin, "ssm-session-worker"),
		filepath.Join(certs, "tls-ca-bundle.pem"),
	} {
		if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
			return fmt.Errorf("install the exec agent: %w", err)
		}
	}
	return nil
}

// ExecAgent is the exec agent of a container as ECS shows it: its status and the reason.
func (c Container) ExecAgent() string {
	for _, g := range c.ManagedAgents {
		if g.Name == "ExecuteCommandAgent" {
			return g.LastStatus + ": " + g.Reason
		}
	}
	return "none"
}
