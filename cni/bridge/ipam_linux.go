package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"ecsagent/cni/ipam"
	"ecsagent/cni/plugin"
)

// allocator hands out addresses: another program, or this one.
type allocator interface {
	add() (*current.Result, error)
	call(command string) error
}

// newAllocator finds the plugin in CNI_PATH. A file there that is this very program need
// not be started to be asked.
func newAllocator(name string, args *skel.CmdArgs) (allocator, error) {
	path, err := findPlugin(name, args.Path)
	if err != nil {
		return nil, err
	}
	if name == ipam.Name && isThis(path) {
		return within{args}, nil
	}
	return program{path: path, args: args}, nil
}

func findPlugin(name, cniPath string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return "", plugin.Invalid("ipam.type", name, "the name of a plugin, not a path")
	}
	for _, dir := range filepath.SplitList(cniPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", plugin.Invalid("ipam.type", name, "a plugin in CNI_PATH, which is "+cniPath)
}

func isThis(path string) bool {
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(a, b)
}

// within calls ecs-ipam in this process.
type within struct{ args *skel.CmdArgs }

func (w within) add() (*current.Result, error) { return ipam.Add(w.args) }

func (w within) call(command string) error {
	return map[string]func(*skel.CmdArgs) error{
		"DEL": ipam.Del, "CHECK": ipam.Check, "STATUS": ipam.Status, "GC": ipam.GC,
	}[command](w.args)
}

// program starts the plugin with the same configuration and environment. The CNI
// library's own way to do this brings an HTTP client with it, which would take longer to
// load than the rest of the plugin to run.
type program struct {
	path string
	args *skel.CmdArgs
}

// run waits for the program without a deadline: the caller of this one has it.
func (p program) run(command string) ([]byte, error) {
	c := exec.Command(p.path) // on purpose
	c.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+p.args.ContainerID, "CNI_NETNS="+p.args.Netns,
		"CNI_IFNAME="+p.args.IfName, "CNI_ARGS="+p.args.Args, "CNI_PATH="+p.args.Path)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(p.args.StdinData), &out, &errs
	err := c.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	var said types.Error
	if json.Unmarshal(out.Bytes(), &said) == nil && said.Msg != "" {
		return nil, &said
	}
	return nil, fmt.Errorf("IPAM plugin %s: %w: %s", p.path, err, strings.TrimSpace(errs.String()))
}

func (p program) add() (*current.Result, error) {
	out, err := p.run("ADD")
	if err != nil {
		return nil, err
	}
	r, err := create.CreateFromBytes(out)
	if err != nil {
		return nil, fmt.Errorf("result of the IPAM plugin %s: %w", p.path, err)
	}
	converted, err := current.NewResultFromResult(r)
	if err == nil && converted == nil {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("result of the IPAM plugin %s: %w", p.path, err)
	}
	return converted, nil
}

func (p program) call(command string) error {
	_, err := p.run(command)
	return err
}
