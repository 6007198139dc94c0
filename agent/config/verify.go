package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// verify runs the checks that look at the effective configuration as a whole.
func (l *loader) verify() {
	if l.cfg.Region == "" {
		l.reportNoRegion()
	}
	l.verifySettings()
}

func (l *loader) reportNoRegion() {
	f := Finding{Severity: Fatal, Origin: Origin{Source: SourceEnvironment}, Name: envRegion, Problem: "is not set and the instance metadata does not tell", Want: "a region such as us-east-1"}
	switch {
	case l.cfg.External:
		f.Problem = "is not set, which ECS_EXTERNAL needs"
	case l.env.get("AWS_REGION") != "":
		f.Problem = "is not set; AWS_REGION is, but it is not read"
	}
	l.report(f)
}

// verifySettings runs each setting's own check, and finds the settings that were
// set and have no effect because another one is off.
func (l *loader) verifySettings() {
	for i := range l.table {
		s := &l.table[i]
		if !l.cfg.Explicit(s.key()) || !s.effectiveOn(l.goos) {
			continue
		}
		if s.verify != nil {
			l.applyComplaints(s, s.verify(l.cfg))
		}
		l.verifyNeeds(s)
	}
}

func (l *loader) applyComplaints(s *Setting, complaints []complaint) {
	origin := l.cfg.origins[s.key()]
	for _, c := range complaints {
		l.report(Finding{Severity: c.severity, Origin: origin, Name: s.key(), Problem: c.problem, Want: c.want})
		if c.reset {
			s.value.store(l.cfg, l.defaultOf(s))
			l.cfg.origins[s.key()] = Origin{Source: SourceDefault}
		}
	}
}

func (l *loader) verifyNeeds(s *Setting) {
	if s.value.format(s.value.load(l.cfg)) == s.value.format(l.defaultOf(s)) {
		return
	}
	for _, need := range s.Needs {
		if !need.holds(l.cfg) {
			l.report(Finding{
				Severity: Notice, Origin: l.cfg.origins[s.key()], Name: s.key(),
				Problem: "has an effect only if " + plain(need.text),
			})
			return
		}
	}
}

func warn(problem, want string) []complaint {
	return []complaint{{severity: Warning, problem: problem, want: want}}
}

func reset(problem, want string) []complaint {
	return []complaint{{severity: Warning, problem: problem, want: want, reset: true}}
}

func notice(problem, want string) []complaint {
	return []complaint{{severity: Notice, problem: problem, want: want}}
}

// Each is compiled when it is needed, and lengths are no part of them: a bound of 255
// makes 255 copies.
var (
	clusterARN = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^arn:[a-z0-9-]+:ecs:[a-z0-9-]+:[0-9]{12}:cluster/(.*)$`)
	})
	regionName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z]{2,5}(-[a-z]+)+-[0-9]+$`) })
	zoneName   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z]{2,5}(?:-[a-z]+)+-[0-9]+)[a-z]$`) })
)

// maxClusterName is the length of the longest name of a cluster.
const maxClusterName = 255

func isClusterName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxClusterName
}

func verifyCluster(c *Config) []complaint {
	name := c.Cluster
	if strings.HasPrefix(name, "arn:") {
		if m := clusterARN().FindStringSubmatch(name); m != nil {
			name = m[1]
		}
	}
	if isClusterName(name) {
		return nil
	}
	return warn(quoted(clip(c.Cluster))+"is not a cluster", "1 to 255 letters, digits, - and _, or a cluster's ARN")
}

func verifyRegion(c *Config) []complaint {
	if regionName().MatchString(c.Region) {
		return nil
	}
	want := "a region such as us-east-1"
	if m := zoneName().FindStringSubmatch(c.Region); m != nil {
		want = m[1]
	}
	return warn(quoted(clip(c.Region))+"does not look like a region", want)
}

func verifyLowMark(c *Config) []complaint {
	if c.ImageDiskHigh == 0 || c.ImageDiskLow < c.ImageDiskHigh {
		return nil
	}
	return warn(fmt.Sprintf("is not below ECS_IMAGE_CLEANUP_DISK_HIGH_PERCENT; %d is used", c.ImageDiskLowMark()),
		fmt.Sprintf("less than %d", c.ImageDiskHigh))
}

func verifyDockerHost(c *Config) []complaint {
	scheme, rest, ok := strings.Cut(c.DockerEndpoint, "://")
	switch {
	case ok && rest != "" && (scheme == "unix" || scheme == "npipe" || scheme == "tcp" || scheme == "http" || scheme == "https"):
		return nil
	default:
		return warn(quoted(clip(c.DockerEndpoint))+"is not a Docker endpoint", "unix://PATH, npipe://PATH or tcp://HOST:PORT")
	}
}

func verifyAuthType(c *Config) []complaint {
	if c.EngineAuthType != "docker" && c.EngineAuthType != "dockercfg" {
		return reset(quoted(clip(c.EngineAuthType))+"is not a known kind; registries are used without authentication", "docker or dockercfg")
	}
	if c.EngineAuthData == "" {
		return notice("has no effect without ECS_ENGINE_AUTH_DATA", "")
	}
	return nil
}

func verifyAuthData(c *Config) []complaint {
	if c.EngineAuthType == "" {
		return nil
	}
	if problem := authProblem(c.EngineAuthType, c.EngineAuthData.Reveal()); problem != "" {
		return reset(problem+"; registries are used without authentication", authWant(c.EngineAuthType))
	}
	return nil
}

func authWant(kind string) string {
	if kind == "docker" {
		return `{"REGISTRY":{"username":"…","password":"…","email":"…"}}`
	}
	return `{"REGISTRY":{"auth":"…"}}`
}

// authProblem says what is wrong with the shape of registry credentials, quoting
// nothing of them.
func authProblem(kind, data string) string {
	if kind == "docker" {
		var entries map[string]struct{ Username, Password, Email string }
		if json.Unmarshal([]byte(data), &entries) != nil {
			return "is not an object of registries with user name and password"
		}
		return ""
	}
	var entries map[string]struct{ Auth string }
	if json.Unmarshal([]byte(data), &entries) != nil {
		return "is not an object of registries with auth"
	}
	for _, name := range sortedKeys(entries) {
		pair, err := base64.StdEncoding.DecodeString(entries[name].Auth)
		if err != nil || !strings.Contains(string(pair), ":") {
			return "has an auth that is not base64 of user:password"
		}
	}
	return ""
}

// loggingDrivers are the Docker log drivers ECS knows (docs/spec/03 section 4.4).
var loggingDrivers = map[string]bool{
	"json-file": true, "syslog": true, "journald": true, "none": true, "gelf": true, "fluentd": true,
	"awslogs": true, "splunk": true, "logentries": true, "sumologic": true, "awsfirelens": true,
}

func verifyLoggingDrivers(c *Config) []complaint {
	var unknown []string
	for _, d := range c.AvailableLoggingDrivers {
		if !loggingDrivers[d] {
			unknown = append(unknown, strconv.Quote(clip(d)))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return []complaint{{
		severity: Fatal, problem: "names unknown log drivers: " + strings.Join(unknown, ", "),
		want: "drivers out of " + strings.Join(sortedKeys(loggingDrivers), ", "),
	}}
}

// validAttribute reports whether s is 1 to 128 letters, digits and characters of
// extra; blanks may stand inside if they are in extra.
func validAttribute(s, extra string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(extra, r) {
			return false
		}
	}
	return s != "" && utf8.RuneCountInString(s) <= 128 && strings.TrimSpace(s) == s
}

func verifyAttributes(c *Config) []complaint {
	var all []complaint
	for _, name := range sortedKeys(c.InstanceAttributes) {
		if !validAttribute(name, `-_/\.`) {
			all = append(all, warn(fmt.Sprintf("has attribute name %q, which ECS refuses", clip(name)), `1 to 128 letters, digits and -_/\.`)...)
		}
		if value := c.InstanceAttributes[name]; !validAttribute(value, `-_.@/\: `) {
			all = append(all, warn(fmt.Sprintf("has value %q for %q, which ECS refuses", clip(value), clip(name)), `1 to 128 letters, digits, inner blanks and -_.@/\:`)...)
		}
	}
	return all
}

func verifyTags(c *Config) []complaint {
	var all []complaint
	if n := len(c.ContainerInstanceTags); n > 50 {
		all = append(all, warn(fmt.Sprintf("has %d tags, which ECS refuses", n), "50 tags at most")...)
	}
	for _, key := range sortedKeys(c.ContainerInstanceTags) {
		value := c.ContainerInstanceTags[key]
		switch {
		case key == "" || utf8.RuneCountInString(key) > 128:
			all = append(all, warn(fmt.Sprintf("has tag key %q, which ECS refuses", clip(key)), "1 to 128 characters")...)
		case utf8.RuneCountInString(value) > 256:
			all = append(all, warn(fmt.Sprintf("has a value of %d characters for tag %q, which ECS refuses", utf8.RuneCountInString(value), clip(key)), "256 characters at most")...)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			all = append(all, warn(fmt.Sprintf("has tag key %q, whose prefix ECS reserves", clip(key)), "a key that does not begin with aws:")...)
		}
	}
	return all
}

func verifyLogDriver(c *Config) []complaint {
	if c.Explicit("ECS_LOGLEVEL_ON_INSTANCE") {
		return notice("has no effect: "+noContainer, "")
	}
	return notice("chooses no log driver, because "+noContainer+"; it only turns the log file off", "")
}

func verifyProxy(get func(*Config) string) func(c *Config) []complaint {
	return func(c *Config) []complaint {
		text := get(c)
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "socks5") {
			return nil
		}
		return warn("is not a proxy address", "http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT or HOST:PORT")
	}
}

func verifyRequestMethod(c *Config) []complaint {
	if c.Proxy.HTTP == "" {
		return nil
	}
	return notice("is set, so requests that would use HTTP_PROXY fail", "it unset")
}
