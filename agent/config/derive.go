package config

import (
	"slices"
	"strconv"
	"strings"
)

// derive sets what follows from the machine or from other settings: defaults made
// at start, values that are forced, lists that are added to.
func (l *loader) derive() {
	c := l.cfg
	if c.APIEndpoint != "" && !strings.HasPrefix(c.APIEndpoint, "http://") && !strings.HasPrefix(c.APIEndpoint, "https://") {
		c.APIEndpoint = "https://" + c.APIEndpoint
	}
	if l.goos == "linux" {
		l.deriveLinux()
	} else {
		l.deriveWindows()
	}
	if c.External {
		l.force("ECS_ENABLE_TASK_ENI", "external instance", func() bool { was := c.TaskENI; c.TaskENI = false; return was })
		l.force("NoIID", "external instance", func() bool { was := c.NoIID; c.NoIID = true; return !was })
	}
	if !c.Explicit("ECS_ENABLE_HIGH_DENSITY_ENI") && l.goos == "linux" {
		c.ENITrunking = c.TaskENI
	}
	if !c.TaskENI {
		l.force("ECS_ENABLE_HIGH_DENSITY_ENI", "ECS_ENABLE_TASK_ENI is off", func() bool { was := c.ENITrunking; c.ENITrunking = false; return was })
	}
	if !c.Explicit("ECS_LOGLEVEL_ON_INSTANCE") {
		c.Log.LevelOnInstance = c.Log.Level
		if l.cfg.origins["ECS_LOGLEVEL"].Source == SourceFlag {
			c.Log.LevelOnInstance = l.configuredLevel()
		}
		if c.Log.Driver != "" {
			c.Log.LevelOnInstance = "off"
		}
	}
}

// configuredLevel is the value of ECS_LOGLEVEL without the command line, which for
// the file level counts only where -loglevel was given.
func (l *loader) configuredLevel() string {
	v, _, ok := l.choose(l.byName["ECS_LOGLEVEL"], nil)
	if word, isWord := v.(string); ok && isWord {
		return word
	}
	return "info"
}

// force changes a setting whatever was said, and reports it if somebody said
// something else.
func (l *loader) force(name, why string, change func() (changed bool)) {
	changed := change()
	if !changed {
		return
	}
	if l.cfg.Explicit(name) {
		l.report(Finding{
			Severity: Notice, Origin: l.cfg.origins[name], Name: name,
			Problem: "has no effect: " + why,
		})
	}
	l.cfg.origins[name] = Origin{Source: SourceForced, Note: why}
}

func (l *loader) deriveLinux() {
	c := l.cfg
	if s, err := l.src.ReadFile("/proc/sys/crypto/fips_enabled"); err == nil {
		c.FIPS = strings.TrimSpace(string(s)) == "1"
	}
	l.computed("ECS_DETAILED_OS_FAMILY", func() string {
		c.DetailedOSFamily = "linux"
		content, err := l.src.ReadFile("/etc/os-release")
		if err != nil {
			return ""
		}
		if family := osFamily(string(content)); family != "" {
			c.DetailedOSFamily = family
			return "from /etc/os-release"
		}
		return ""
	})
	l.computed("ECS_DYNAMIC_HOST_PORT_RANGE", func() string {
		const file = "/proc/sys/net/ipv4/ip_local_port_range"
		c.DynamicHostPortRange = PortRange{First: 49153, Last: 65535}
		content, err := l.src.ReadFile(file)
		if err != nil {
			return ""
		}
		r, err := parsePortRange(strings.Join(strings.Fields(string(content)), "-"))
		if err != nil {
			return ""
		}
		c.DynamicHostPortRange = r
		return "from " + file
	})
	l.computed("ECS_EXCLUDE_IPV6_PORTBINDING", func() string {
		v6 := c.InstanceIPFamily == "ipv6"
		if c.InstanceIPFamily == "" && l.src.IPv6Only != nil {
			v6 = l.src.IPv6Only()
		}
		c.ExcludeIPv6PortBinding = !v6
		return ""
	})
	l.computed("CREDENTIALS_FETCHER_HOST_DIR", func() string {
		c.CredentialsFetcherSocket = strings.TrimPrefix(c.CredentialsFetcherHost, "unix://")
		return "from CREDENTIALS_FETCHER_HOST"
	})
	c.GMSADomainless = c.GMSA
	if c.Prometheus {
		c.ReservedPorts = withPort(c.ReservedPorts, 51680)
	}
	if !l.src.Exists(c.EBSMountDir) {
		l.force("ECS_EBSTA_SUPPORTED", c.EBSMountDir+" does not exist", func() bool { was := c.EBSTaskAttach; c.EBSTaskAttach = false; return was })
	}
}

func (l *loader) deriveWindows() {
	c := l.cfg
	c.GMSADomainless = c.GMSA && c.Explicit("ECS_GMSA_SUPPORTED")
	if c.TaskIAMRole {
		c.ReservedPorts = withPort(c.ReservedPorts, 80)
	}
	l.computed("ECS_CHECKPOINT", func() string {
		switch c.origins["ECS_DATADIR"].Source {
		case SourceEnvironment, SourceEnvFile:
			c.Checkpoint = true
			return "on because ECS_DATADIR is set"
		}
		return ""
	})
}

// computed lets make set a setting nobody set; make returns what it was made from.
func (l *loader) computed(name string, make func() string) {
	if !l.cfg.Explicit(name) {
		l.cfg.origins[name] = Origin{Source: SourceDefault, Note: make()}
	}
}

func withPort(list []uint16, port uint16) []uint16 {
	if slices.Contains(list, port) {
		return list
	}
	return append(slices.Clip(list), port)
}

// osFamily is <ID>_<VERSION_ID> of an os-release file, or "" if either is missing.
func osFamily(content string) string {
	values := map[string]string{}
	for _, line := range strings.Split(content, "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		if unq, err := strconv.Unquote(value); err == nil {
			value = unq
		}
		values[name] = strings.Trim(value, `"'`)
	}
	if values["ID"] == "" || values["VERSION_ID"] == "" {
		return ""
	}
	return values["ID"] + "_" + values["VERSION_ID"]
}
