// Command ecs-local is a local Amazon ECS: it serves the public ECS API and drives
// ECS agents, so that task definitions run on this machine without an AWS account.
package main

import (
	"context"
	"os"

	"ecsagent/controlplane/local/cli"
)

// version is set by the linker: -X main.version=1.2.3.
var version = "0.0.0"

func main() {
	os.Exit(cli.Main(context.Background(), cli.Environment{Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Version: version}, os.Args[1:]))
}
