package service

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names of the service and of its source of events, which scripts and alarms of users
// know.
const (
	Name        = "AmazonECS"
	EventSource = "AmazonECSAgent"
)

// Start says when a service starts.
type Start string

// Automatic is delayed: other services of the host, Docker among them, come first.
const (
	Automatic Start = "auto"
	Manual    Start = "manual"
	Disabled  Start = "disabled"
)

var starts = []Start{Automatic, Manual, Disabled}

// Definition is a service as it is installed.
type Definition struct {
	Name, DisplayName, Description string
	Program                        string // its path
	Arguments                      []string
	DependsOn                      []string // services
	Start                          Start
	Restarts                       []time.Duration // before the first, second, ... restart; the last repeats
	ForgetFailures                 time.Duration   // how long it has to run for the first restart to come next again
	PreShutdown                    time.Duration   // it has to end, before the host shuts down
	EventSource                    string
	Environment                    []Variable // of the machine
	Directory                      string     // of settings, data and logs
}

// Variable is a variable of the machine's environment. One that the machine has already
// is left as it is.
type Variable struct{ Name, Value string }

// Options are what is chosen at an installation.
type Options struct {
	Program     string   // path of ecs-agent.exe
	ProgramData string   // %ProgramData%; empty is C:\ProgramData
	Start       Start    // empty is Automatic
	DependsOn   []string // services; empty is none
}

// Define is the agent's service. The dependency on Docker is one of start and of stop:
// Windows stops the agent before Docker, which is when it can still tell what runs.
func Define(o Options) (Definition, error) {
	if o.Start == "" {
		o.Start = Automatic
	}
	if !slices.Contains(starts, o.Start) {
		return Definition{}, fmt.Errorf("start type %q; want auto, manual or disabled", o.Start)
	}
	if !absolute(o.Program) || strings.Contains(o.Program, `"`) {
		return Definition{}, fmt.Errorf(`program %q; want an absolute path such as C:\Program Files\Amazon\ECS\ecs-agent.exe`, o.Program)
	}
	for _, name := range o.DependsOn {
		if name == "" || strings.ContainsAny(name, `/\`) {
			return Definition{}, fmt.Errorf("dependency %q; want the name of a service such as Docker", name)
		}
		if strings.EqualFold(name, Name) {
			return Definition{}, fmt.Errorf("dependency %q is the service itself", name)
		}
	}
	if o.ProgramData == "" {
		o.ProgramData = `C:\ProgramData`
	}
	directory := strings.TrimRight(o.ProgramData, `\`) + `\Amazon\ECS`
	return Definition{
		Name: Name, DisplayName: "Amazon ECS",
		Description: "The container agent of Amazon ECS: runs the tasks that ECS places on this host.",
		Program:     o.Program, Arguments: []string{"-windows-service"},
		DependsOn: o.DependsOn, Start: o.Start,
		Restarts:       []time.Duration{5 * time.Second, 30 * time.Second, time.Minute},
		ForgetFailures: 5 * time.Minute,
		PreShutdown:    30 * time.Second,
		EventSource:    EventSource,
		Environment: []Variable{
			{"ECS_LOGFILE", directory + `\log\ecs-agent.log`},
			{"ECS_DATADIR", directory + `\data`},
		},
		Directory: directory,
	}, nil
}

// absolute is whether a path begins with a drive or a share, on any operating system.
func absolute(path string) bool {
	if len(path) > 3 && path[1] == ':' && (path[2] == '\\' || path[2] == '/') {
		c := path[0] | 0x20
		return c >= 'a' && c <= 'z'
	}
	return len(path) > 2 && strings.HasPrefix(path, `\\`)
}
