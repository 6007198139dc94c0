package container

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ecsagent/agent/config"
)

// DefaultName is the container's.
const DefaultName = "ecs-agent"

// label marks the container as one that may be removed.
const label = "com.amazonaws.ecs.agent-container"

// Agent is the agent as a container.
type Agent struct {
	Name    string // of the container; DefaultName
	Image   string
	Config  *config.Config
	Environ []string // of ecs-init
	Notify  string   // socket on which the container says what systemd wants to know; empty: nobody does
	// Exists reports whether a path of the host is there; nil asks the host.
	Exists func(path string) bool
}

// request is what the engine is asked for.
type request struct {
	Image      string
	Env        []string
	Labels     map[string]string
	HostConfig hostConfig
}

type hostConfig struct {
	NetworkMode string
	UsernsMode  string
	PidMode     string
	CapAdd      []string
	SecurityOpt []string
	Binds       []string
	LogConfig   logConfig
}

type logConfig struct {
	Type   string
	Config map[string]string
}

// passed are the beginnings of the names of variables that the agent gets.
var passed = []string{"ECS_", "AWS_", "DOCKER_", "HTTP_PROXY=", "HTTPS_PROXY=", "NO_PROXY=", "http_proxy=", "https_proxy=", "no_proxy=", "SSL_CERT_", "WATCHDOG_USEC=", "AMAZON_ECS_INIT_", "CREDENTIALS_FETCHER_"}

// request is the container as the engine makes it.
func (a Agent) request() request {
	r := request{Image: a.Image, Labels: map[string]string{label: "true"}, HostConfig: hostConfig{
		NetworkMode: "host", UsernsMode: "host",
		// The networks of tasks are found by their processes.
		PidMode: "host",
		CapAdd:  []string{"NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"},
		// Docker's own profile forbids to look into processes that have another.
		SecurityOpt: []string{"apparmor=unconfined"},
		Binds:       a.binds(),
		// What it says goes to the journal; this is for docker logs.
		LogConfig: logConfig{"json-file", map[string]string{"max-size": "16m", "max-file": "4"}},
	}}
	for _, v := range a.Environ {
		if slices.ContainsFunc(passed, func(p string) bool { return strings.HasPrefix(v, p) }) {
			r.Env = append(r.Env, v)
		}
	}
	if a.Notify != "" {
		r.Env = append(r.Env, "NOTIFY_SOCKET="+a.Notify)
	}
	return r
}

// binds are the parts of the host that the agent works with, each where it is on the host.
func (a Agent) binds() (binds []string) {
	exists := a.Exists
	if exists == nil {
		exists = func(path string) bool { _, err := os.Stat(path); return err == nil }
	}
	c := a.Config
	seen := map[string]bool{}
	bind := func(path, at, mode string) {
		if !filepath.IsAbs(path) || seen[at] || !exists(path) {
			return
		}
		seen[at] = true
		binds = append(binds, strings.TrimSuffix(path+":"+at+":"+mode, ":"))
	}
	same := func(mode string, paths ...string) {
		for _, p := range paths {
			bind(p, p, mode)
		}
	}
	// The folder, so that a socket that is made anew is seen.
	same("rw", filepath.Dir(strings.TrimPrefix(c.DockerEndpoint, "unix://")))
	same("rw", c.RunDir)
	same("rw", c.CredentialsDir)
	if a.Notify != "" {
		same("rw", filepath.Dir(a.Notify))
	}
	same("rw", c.DataDir, filepath.Dir(c.ConfigFile), c.TaskLogDir, c.UpdateDownloadDir, "/var/lib/ecs")
	if c.Log.File != "" {
		same("rw", filepath.Dir(c.Log.File))
	}
	same("rw", c.CgroupPath)
	if c.GMSA {
		same("rw", filepath.Dir(c.CredentialsFetcherSocket))
	}
	same("ro", "/etc/os-release", "/etc/ssl", "/etc/pki", "/etc/resolv.conf", "/etc/docker", "/usr/lib/docker/plugins", "/run/docker/plugins",
		"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/sbin", "/etc/alternatives", "/usr/bin/nsenter", "/usr/bin/lsblk", c.CloudInitResultFile)
	bind("/sbin", "/host/sbin", "ro")
	if c.External {
		same("ro", filepath.Dir(c.RotatingCredentialsFile))
	}
	return binds
}

// exitCode is the code of a container's end, as a process's.
func exitCode(code int64) int {
	if code < 0 || code > 255 {
		return 1
	}
	return int(code)
}

// short is an id as people see it.
func short(id string) string { return id[:min(12, len(id))] }

func (a Agent) name() string { return cmp.Or(a.Name, DefaultName) }

// named is how the image is spoken of.
func (a Agent) named() string { return strconv.Quote(cmp.Or(a.Image, "none")) }
