package config

import "strings"

// containerPaths maps the paths inside the official agent's container to the host's
// (docs/spec/03 section 5.11.1): files written for that agent name the former.
var containerPaths = []struct{ inside, host string }{
	{"/data", "/var/lib/ecs/data"},
	{"/log", "/var/log/ecs"},
	{"/managed-agents", "/var/lib/ecs/deps"},
	{"/host/proc", "/proc"},
	{"/host/sbin", "/sbin"},
	{"/rotatingcreds/credentials", "/root/.aws/credentials"},
	{"/amazon-ecs-cni-plugins", "/usr/libexec/amazon-ecs/cni"},
	{"/images/amazon-ecs-pause.tar", "/usr/share/amazon-ecs/amazon-ecs-pause.tar"},
}

// stateFile in /data shows that somebody chose /data on the host.
const stateFile = "agent.db"

// hostPath is the path on this machine that a configured path stands for.
func (l *loader) hostPath(s *Setting, configured string) string {
	if l.goos == "windows" {
		return l.expand(configured)
	}
	if !s.Path || l.src.Exists("/.dockerenv") || l.src.Exists("/run/.containerenv") {
		return configured
	}
	for _, p := range containerPaths {
		rest, ok := strings.CutPrefix(configured, p.inside)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		chosen := p.inside
		if p.inside == "/data" {
			chosen = p.inside + "/" + stateFile
		}
		if l.src.Exists(chosen) {
			return configured
		}
		return p.host + strings.TrimSuffix(rest, "/")
	}
	return configured
}

// expand fills in the base directories of Windows.
func (l *loader) expand(s string) string {
	if l.goos != "windows" || !strings.Contains(s, "%") {
		return s
	}
	for _, v := range []struct{ name, fallback string }{
		{"ProgramData", `C:\ProgramData`},
		{"ProgramFiles", `C:\Program Files`},
	} {
		dir := l.env.get(v.name)
		if dir == "" {
			dir = v.fallback
		}
		s = strings.ReplaceAll(s, "%"+v.name+"%", dir)
	}
	return s
}
