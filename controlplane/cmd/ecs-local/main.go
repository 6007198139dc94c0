// Command ecs-local is a local Amazon ECS: it serves the public ECS API and drives
// ECS agents, so that task definitions run on this machine without an AWS account.
// Called as session-manager-plugin it is what the AWS CLI calls for ECS Exec.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"ecsagent/controlplane/local/cli"
	"ecsagent/controlplane/session/plugin"
)

// version is set by the linker: -X main.version=1.2.3.
var version = "0.0.0"

func main() {
	if filepath.Base(os.Args[0]) == plugin.Name {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
		code := plugin.Main(ctx, os.Stdin, os.Stdout, os.Stderr, version, os.Args[1:])
		stop()
		os.Exit(code)
	}
	os.Exit(cli.Main(context.Background(), cli.Environment{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Version: version}, os.Args[1:]))
}
