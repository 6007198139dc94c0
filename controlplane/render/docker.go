package render

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ecsagent/controlplane/api"
)

const mebibyte = 1 << 20

// config has the members of Docker's container Config that a task definition can
// set. Absent members must stay absent: the agent lays the document over its own
// (docs/spec/02 section 4.1).
type config struct {
	User            string            `json:",omitempty"`
	WorkingDir      string            `json:",omitempty"`
	Hostname        string            `json:",omitempty"`
	Labels          map[string]string `json:",omitempty"`
	Tty             *bool             `json:",omitempty"`
	OpenStdin       *bool             `json:",omitempty"`
	NetworkDisabled *bool             `json:",omitempty"`
	Healthcheck     *healthcheck      `json:",omitempty"`
}

type healthcheck struct {
	Test        []string
	Interval    time.Duration `json:",omitempty"` // nanoseconds, as Docker counts
	Timeout     time.Duration `json:",omitempty"`
	StartPeriod time.Duration `json:",omitempty"`
	Retries     int           `json:",omitempty"`
}

// hostConfig has the members of Docker's HostConfig that a task definition can
// set.
type hostConfig struct {
	NetworkMode       string
	CapAdd            []string
	CapDrop           []string
	LogConfig         *logConfig        `json:",omitempty"`
	Privileged        *bool             `json:",omitempty"`
	ReadonlyRootfs    *bool             `json:",omitempty"`
	MemoryReservation int64             `json:",omitempty"` // bytes
	MemorySwap        *int64            `json:",omitempty"` // bytes, memory and swap together
	MemorySwappiness  *int64            `json:",omitempty"`
	ShmSize           int64             `json:",omitempty"` // bytes
	Init              *bool             `json:",omitempty"`
	Tmpfs             map[string]string `json:",omitempty"`
	Devices           []device          `json:",omitempty"`
	Ulimits           []ulimit          `json:",omitempty"`
	ExtraHosts        []string          `json:",omitempty"`
	DNS               []string          `json:"Dns,omitempty"`
	DNSSearch         []string          `json:"DnsSearch,omitempty"`
	SecurityOpt       []string          `json:",omitempty"`
	Sysctls           map[string]string `json:",omitempty"`
}

type logConfig struct {
	Type   string
	Config map[string]string
}

type device struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
}

type ulimit struct {
	Name string
	Soft int64
	Hard int64
}

func dockerConfig(cd *api.ContainerDefinition, t *Task) (DockerConfig, error) {
	c := config{User: cd.User, WorkingDir: cd.WorkingDirectory, Hostname: cd.Hostname, Labels: cd.DockerLabels,
		Tty: cd.PseudoTerminal, OpenStdin: cd.Interactive, NetworkDisabled: cd.DisableNetworking}
	if h := cd.HealthCheck; h != nil {
		c.Healthcheck = &healthcheck{Test: h.Command, Interval: seconds(h.Interval), Timeout: seconds(h.Timeout), StartPeriod: seconds(h.StartPeriod)}
		if h.Retries != nil {
			c.Healthcheck.Retries = *h.Retries
		}
	}
	configJSON, err := json.Marshal(c)
	if err != nil {
		return DockerConfig{}, fmt.Errorf("encode config: %w", err)
	}
	hostJSON, err := json.Marshal(host(cd, t))
	if err != nil {
		return DockerConfig{}, fmt.Errorf("encode host config: %w", err)
	}
	return DockerConfig{Version: version(cd), Config: string(configJSON), HostConfig: string(hostJSON)}, nil
}

// version is the oldest API version that knows everything the container asks for.
func version(cd *api.ContainerDefinition) string {
	switch l := cd.LinuxParameters; {
	case cd.HealthCheck != nil && cd.HealthCheck.StartPeriod != nil:
		return "1.29"
	case l != nil && l.InitProcessEnabled != nil:
		return "1.25"
	}
	return dockerVersion
}

func seconds(n *int) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}

func host(cd *api.ContainerDefinition, t *Task) hostConfig {
	h := hostConfig{
		NetworkMode: t.NetworkMode, CapAdd: []string{}, CapDrop: []string{},
		Privileged: cd.Privileged, ReadonlyRootfs: cd.ReadonlyRootFilesystem,
		MemoryReservation: int64(cd.MemoryReservation) * mebibyte,
		DNS:               cd.DNSServers, DNSSearch: cd.DNSSearchDomains, SecurityOpt: cd.DockerSecurityOptions,
	}
	if l := cd.LogConfiguration; l != nil {
		h.LogConfig = &logConfig{Type: l.LogDriver, Config: l.Options}
		if h.LogConfig.Config == nil {
			h.LogConfig.Config = map[string]string{}
		}
	}
	for _, u := range cd.Ulimits {
		h.Ulimits = append(h.Ulimits, ulimit{u.Name, u.SoftLimit, u.HardLimit})
	}
	for _, e := range cd.ExtraHosts {
		h.ExtraHosts = append(h.ExtraHosts, e.Hostname+":"+e.IPAddress)
	}
	for _, s := range cd.SystemControls {
		if h.Sysctls == nil {
			h.Sysctls = map[string]string{}
		}
		h.Sysctls[s.Namespace] = s.Value
	}
	if cd.LinuxParameters != nil {
		h.linux(cd.LinuxParameters, cd)
	}
	return h
}

func (h *hostConfig) linux(l *api.LinuxParameters, cd *api.ContainerDefinition) {
	if c := l.Capabilities; c != nil {
		h.CapAdd, h.CapDrop = append(h.CapAdd, c.Add...), append(h.CapDrop, c.Drop...)
	}
	for _, d := range l.Devices {
		h.Devices = append(h.Devices, dockerDevice(d))
	}
	h.Init = l.InitProcessEnabled
	if l.SharedMemorySize != nil {
		h.ShmSize = int64(*l.SharedMemorySize) * mebibyte
	}
	for _, m := range l.Tmpfs {
		if h.Tmpfs == nil {
			h.Tmpfs = map[string]string{}
		}
		h.Tmpfs[m.ContainerPath] = strings.Join(append([]string{"size=" + strconv.Itoa(m.Size) + "m"}, m.MountOptions...), ",")
	}
	// Docker takes memory and swap as one sum, so a limit on swap needs one on memory.
	if l.MaxSwap != nil && cd.Memory > 0 {
		sum := int64(cd.Memory+*l.MaxSwap) * mebibyte
		h.MemorySwap = &sum
		if l.Swappiness != nil {
			n := int64(*l.Swappiness)
			h.MemorySwappiness = &n
		}
	}
}

func dockerDevice(d api.Device) device {
	out := device{PathOnHost: d.HostPath, PathInContainer: d.ContainerPath}
	if out.PathInContainer == "" {
		out.PathInContainer = d.HostPath
	}
	for _, p := range d.Permissions {
		switch p {
		case "read":
			out.CgroupPermissions += "r"
		case "write":
			out.CgroupPermissions += "w"
		case "mknod":
			out.CgroupPermissions += "m"
		}
	}
	if out.CgroupPermissions == "" {
		out.CgroupPermissions = "rwm"
	}
	return out
}
