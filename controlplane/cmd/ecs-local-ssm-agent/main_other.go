//go:build !linux

// Command ecs-local-ssm-agent is for Linux containers.
package main

import (
	"fmt"
	"os"
)

// version is set by the linker, as for Linux.
var version = "0.0.0"

func main() {
	fmt.Fprintf(os.Stderr, "ecs-local-ssm-agent %s runs in Linux containers only\n", version)
	os.Exit(1)
}
