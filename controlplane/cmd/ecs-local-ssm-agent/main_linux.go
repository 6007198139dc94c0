// Command ecs-local-ssm-agent runs the commands of aws ecs execute-command inside a
// container of the local ECS. It is installed in the place of the SSM agent's programs, and
// does the work of all three alone.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ecsagent/controlplane/session/shell"
)

// version is set by the linker: -X main.version=1.2.3.
var version = "0.0.0"

// folder is where the SSM agent has its logs; it is the host's.
const folder = "/var/log/amazon/ssm"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	out := os.Stderr
	if f, err := os.OpenFile(filepath.Join(folder, "amazon-ssm-agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		out = f
	}
	logger := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(out), zap.InfoLevel))
	home := "."
	if program, err := os.Executable(); err == nil {
		home = filepath.Dir(program)
	}
	s := &shell.Server{
		Folder: folder, Version: version, Log: logger,
		Limit: shell.Limit(filepath.Join(home, "configuration", "amazon-ssm-agent.json")),
	}
	if err := s.Serve(ctx); err != nil {
		logger.Error("sessions not served", zap.Error(err))
		stop()
		os.Exit(1)
	}
}
