package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"ecsagent/agent/version"
)

// Family says which of the two sets of official plugins a name comes from. They differ
// in what they print for --version and where they log.
type Family int

// The families.
const (
	ECS Family = iota
	VPC
)

// Plugin is one plugin of the binary.
type Plugin struct {
	Name   string
	Family Family
	// Capabilities is what --capabilities lists (docs/spec/05 section 4.2).
	Capabilities []string
	// Funcs are the CNI commands; a nil one succeeds.
	Funcs skel.CNIFuncs
}

// AWSVPC is the capability the agent asks the task-networking plugins for.
const AWSVPC = "awsvpc-network-mode"

// Versions are the versions of the CNI specification that every plugin speaks.
func Versions() cniversion.PluginInfo {
	return cniversion.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
}

// Main runs the plugin as the process that a CNI runtime started, and returns the exit
// status. args are the command line without the program's name.
func Main(p Plugin, args []string, stdout io.Writer) (status int) {
	for _, arg := range args {
		switch arg {
		case "--version", "-version":
			return printJSON(stdout, about(p.Family))
		case "--capabilities", "-capabilities":
			return printJSON(stdout, capabilities{p.Capabilities})
		default:
			return fail(stdout, types.NewError(types.ErrInvalidEnvironmentVariables,
				fmt.Sprintf("%s: unknown argument %q; want --version or --capabilities, or the CNI environment", p.Name, arg), ""))
		}
	}
	log := Log(p)
	defer func() {
		if r := recover(); r != nil {
			log.Errorf("panic: %v\n%s", r, debug.Stack())
			status = fail(stdout, types.NewError(types.ErrInternal, fmt.Sprintf("%s: panic: %v", p.Name, r), ""))
		}
	}()
	relax()
	command := os.Getenv("CNI_COMMAND")
	if err := skel.PluginMainFuncsWithError(p.Funcs, Versions(), "ECS CNI plugin "+p.Name+" "+version.Number()); err != nil {
		log.Errorf("%s container=%s ifname=%s netns=%s: %s %s", command, os.Getenv("CNI_CONTAINERID"),
			os.Getenv("CNI_IFNAME"), os.Getenv("CNI_NETNS"), err.Msg, err.Details)
		if err.Code == types.ErrInternal || err.Code == types.ErrTryAgainLater {
			err.Msg = p.Name + ": " + err.Msg
		}
		return fail(stdout, err)
	}
	log.Infof("%s container=%s ifname=%s netns=%s: done", command, os.Getenv("CNI_CONTAINERID"),
		os.Getenv("CNI_IFNAME"), os.Getenv("CNI_NETNS"))
	return 0
}

// relax accepts what the official plugins accept and the CNI library refuses: a call
// that releases an address without a container id (docs/spec/05 section 4.1). The
// library looks for a namespace that is the plugin's own only after the work is done;
// package kernel looks before, so that the library need not.
func relax() {
	if os.Getenv("CNI_CONTAINERID") == "" {
		_ = os.Setenv("CNI_CONTAINERID", NoContainer)
	}
	_ = os.Setenv("CNI_NETNS_OVERRIDE", "1")
}

// NoContainer is the container id of a call that came without one.
const NoContainer = "none"

type capabilities struct {
	Capabilities []string `json:"capabilities,omitempty"`
}

// about is the line of --version; the agent renders it as [@]<hash>-<version>.
func about(f Family) any {
	if f == ECS {
		return struct {
			Version      string `json:"version"`
			Dirty        bool   `json:"dirty"`
			GitShortHash string `json:"gitShortHash"`
		}{version.Number(), version.Dirty(), version.ShortCommit()}
	}
	return struct {
		Version      string `json:"version"`
		GitShortHash string `json:"gitShortHash"`
		Built        string `json:"built"`
	}{version.Number(), version.ShortCommit(), built()}
}

// built is the time of the commit that the program was built from, in RFC 3339, which
// is the same for everybody who builds it.
func built() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				return s.Value
			}
		}
	}
	return ""
}

func printJSON(w io.Writer, v any) int {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(w, "%s\n", line)
	}
	if err != nil {
		return 1
	}
	return 0
}

// fail prints the error object of the CNI specification.
func fail(w io.Writer, err *types.Error) int {
	printJSON(w, struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{cniversion.Current(), err})
	return 1
}
