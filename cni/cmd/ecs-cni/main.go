// Command ecs-cni is all of the ECS CNI plugins in one program: the name under which it
// is started says which one it is (docs/spec/05 section 4.1).
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"ecsagent/agent/version"
	"ecsagent/cni/plugin"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	name := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	if p, ok := byName(name); ok {
		return plugin.Main(p, args[1:], stdout)
	}
	if len(args) == 1 {
		usage(stderr)
		return 2
	}
	switch args[1] {
	case "install":
		if len(args) != 3 {
			usage(stderr)
			return 2
		}
		if err := install(args[2]); err != nil {
			fmt.Fprintf(stderr, "ecs-cni: %v\n", err)
			return 1
		}
		return 0
	case "list":
		for _, n := range names() {
			fmt.Fprintln(stdout, n)
		}
		return 0
	case "--version", "-version":
		fmt.Fprintf(stdout, "ecs-cni %s (%s)\n", version.Number(), version.Commit())
		return 0
	case "--help", "-help", "-h", "help":
		usage(stdout)
		return 0
	}
	if p, ok := byName(args[1]); ok {
		return plugin.Main(p, args[2:], stdout)
	}
	fmt.Fprintf(stderr, "ecs-cni: %q is neither a command nor a plugin\n", args[1])
	usage(stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintf(w, `The ECS CNI plugins in one program. Started under a plugin's name it is that plugin.

usage: ecs-cni install DIR   put the plugins into DIR, as hard links to this program
       ecs-cni list          list the plugins
       ecs-cni PLUGIN        run a plugin (CNI_COMMAND and so on in the environment)
       ecs-cni --version

plugins: %s
`, strings.Join(names(), " "))
}

// byName is the plugin of a name.
func byName(name string) (plugin.Plugin, bool) {
	for _, make := range plugins {
		if p := make(); p.Name == name {
			return p, true
		}
	}
	return plugin.Plugin{}, false
}

func names() []string {
	var all []string
	for _, make := range plugins {
		all = append(all, make().Name)
	}
	return all
}
