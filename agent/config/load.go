package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Variables that say where the other sources are.
const (
	envConfigFile   = "ECS_CONFIG_FILE"
	envInstanceFile = "ECS_INSTANCE_CONFIG_FILE"
	envJSONFile     = "ECS_AGENT_CONFIG_FILE_PATH"
	envRegion       = "AWS_DEFAULT_REGION"
)

// Time limits of the look-ups in instance metadata. The service answers within
// milliseconds where it exists; where it does not, the start must not hang.
const (
	userDataTimeout = 10 * time.Second
	regionTimeout   = 30 * time.Second
)

// Load reads all sources and returns the effective configuration with everything
// that is wrong with it. The error, a *LoadError, says that the agent cannot run.
// The configuration is returned even then, for showing it.
func Load(ctx context.Context, src Sources) (*Config, []Finding, error) {
	l := newLoader(src)
	l.readEnvironment()
	l.readEnvFiles()
	l.readJSONFile()
	l.readUserData(ctx)
	l.resolveAll()
	l.askRegion(ctx)
	l.derive()
	l.verify()
	return l.result()
}

// Check returns all findings of Load.
func Check(ctx context.Context, src Sources) []Finding {
	_, findings, _ := Load(ctx, src)
	return findings
}

// CheckFile returns the findings of one file on its own: JSON if its name ends in
// .json, ecs.config text otherwise. The error says that it cannot be read.
func CheckFile(src Sources, path string) ([]Finding, error) {
	content, err := src.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration file: %w", err)
	}
	// Base directories of Windows stay; nothing else of the machine counts.
	kept := newEnviron(src.Environ, src.GOOS)
	src.Environ = []string{"ProgramData=" + kept.get("ProgramData"), "ProgramFiles=" + kept.get("ProgramFiles")}
	src.IMDS, src.Flags = nil, Flags{}
	src.Exists = func(string) bool { return true }
	l := newLoader(src)
	switch {
	case len(content) > maxFileBytes:
		l.report(Finding{Severity: Fatal, Origin: Origin{Source: SourceEnvFile, Path: path}, Problem: tooLarge})
	case strings.HasSuffix(strings.ToLower(path), ".json"):
		l.addJSON(content, Origin{Source: SourceJSONFile, Path: path})
	default:
		l.addEnvFile(path, content)
	}
	l.resolveAll()
	l.derive()
	l.verifySettings()
	l.sortFindings()
	return l.findings, nil
}

const tooLarge = "is larger than 1 MiB and is left out"

// layer is what one source says: candidates by setting, best first.
type layer map[string][]assignment

// loader is the state of one Load.
type loader struct {
	src      Sources
	env      environ
	goos     string
	table    []Setting
	byName   map[string]*Setting
	byMember map[string]*Setting // lower case
	dead     map[string]*Setting // JSON members without effect, lower case
	layers   []layer
	cfg      *Config
	findings []Finding
}

func newLoader(src Sources) *loader {
	if src.Exists == nil {
		src.Exists = func(string) bool { return false }
	}
	if src.ReadFile == nil {
		src.ReadFile = func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	}
	l := &loader{
		src: src, goos: src.GOOS, env: newEnviron(src.Environ, src.GOOS),
		table:  Settings(),
		byName: map[string]*Setting{}, byMember: map[string]*Setting{}, dead: map[string]*Setting{},
		cfg: &Config{origins: map[string]Origin{}},
	}
	for i := range l.table {
		s := &l.table[i]
		for _, name := range append([]string{s.Name}, s.Aliases...) {
			if name != "" {
				l.byName[l.env.key(name)] = s
			}
		}
		for _, name := range []string{s.JSON, s.JSONAlias} {
			if name != "" {
				l.byMember[strings.ToLower(name)] = s
			}
		}
		if s.JSONDead != "" {
			l.dead[strings.ToLower(s.JSONDead)] = s
		}
	}
	return l
}

// maxFindings keeps a file that is no configuration at all from flooding the log.
const maxFindings = 200

// report adds a finding. After maxFindings only fatal ones are kept.
func (l *loader) report(f Finding) {
	switch n := len(l.findings); {
	case n < maxFindings || f.Severity == Fatal:
		l.findings = append(l.findings, f)
	case n == maxFindings:
		l.findings = append(l.findings, Finding{Severity: Warning, Origin: f.Origin, Problem: "has more findings, which are left out"})
	}
}

// full reports whether only fatal findings still count.
func (l *loader) full() bool { return len(l.findings) > maxFindings }

// sortFindings puts the findings in the order of sources and lines.
func (l *loader) sortFindings() {
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Origin.Source, b.Origin.Source),
			cmp.Compare(a.Origin.Path, b.Origin.Path),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
		)
	})
}

// result ends a Load: the configuration, the findings, and the error made of the
// fatal ones.
func (l *loader) result() (*Config, []Finding, error) {
	l.sortFindings()
	var fatal []Finding
	for _, f := range l.findings {
		if f.Severity == Fatal {
			fatal = append(fatal, f)
		}
	}
	if len(fatal) > 0 {
		return l.cfg, l.findings, &LoadError{Findings: fatal}
	}
	return l.cfg, l.findings, nil
}

// readEnvironment takes the process environment as the first layer.
func (l *loader) readEnvironment() {
	origin := Origin{Source: SourceEnvironment}
	list := make([]assignment, 0, len(l.env.names))
	for _, name := range l.env.names {
		list = append(list, assignment{name: name, text: l.env.get(name), origin: origin})
	}
	l.addAssignments(list)
}

// readEnvFiles adds the user's file and, below it, the instance's.
func (l *loader) readEnvFiles() {
	user, instance := l.envFiles()
	l.readEnvFile(user, envConfigFile)
	l.readEnvFile(instance, envInstanceFile)
}

// envFiles returns where the environment files are, the user's and the instance's;
// an empty path is no file.
func (l *loader) envFiles() (user, instance assignment) {
	user, instance = l.place(l.byName[envConfigFile]), l.place(l.byName[envInstanceFile])
	if l.src.Flags.ConfigFile != "" {
		user = assignment{text: l.src.Flags.ConfigFile, origin: Origin{Source: SourceFlag}}
	}
	if instance.text == user.text {
		instance.text = ""
	}
	return user, instance
}

func (l *loader) readEnvFile(file assignment, name string) {
	if file.text == "" {
		return
	}
	if content, ok := l.read(file, name); ok {
		l.addEnvFile(file.text, content)
	}
}

// place returns where a file is, from the layers read so far or the default.
func (l *loader) place(s *Setting) assignment {
	for _, lay := range l.layers {
		for _, a := range lay[s.key()] {
			if a.text != "" {
				return assignment{text: l.hostPath(s, a.text), origin: a.origin}
			}
		}
	}
	return assignment{text: l.expand(s.defaultFor(l.goos)), origin: Origin{Source: SourceDefault}}
}

// read returns a file's content; a missing default file is no finding.
func (l *loader) read(file assignment, name string) ([]byte, bool) {
	content, err := l.src.ReadFile(file.text)
	switch {
	case err == nil && file.origin.Source == SourceDefault && !l.trusted(file.text):
		l.reportOwner(Origin{Source: SourceEnvFile, Path: file.text}, name)
	case err == nil && len(content) <= maxFileBytes:
		return content, true
	case err == nil:
		l.report(Finding{Severity: Warning, Origin: Origin{Source: SourceEnvFile, Path: file.text}, Problem: tooLarge})
	case errors.Is(err, fs.ErrNotExist) && file.origin.Source == SourceDefault:
	case errors.Is(err, fs.ErrNotExist):
		l.report(Finding{
			Severity: Warning, Origin: file.origin, Name: name, Value: file.text,
			Problem: fmt.Sprintf("names %s, which does not exist", file.text), Want: "an existing file",
		})
	default:
		l.report(Finding{
			Severity: Warning, Origin: Origin{Source: SourceEnvFile, Path: file.text},
			Problem: "cannot be read and is left out: " + err.Error(),
		})
	}
	return nil, false
}

// trusted reports whether a file in its default place may be obeyed. On Windows any user
// may create files below %ProgramData%.
func (l *loader) trusted(path string) bool {
	return l.goos != "windows" || l.src.TrustedOwner != nil && l.src.TrustedOwner(path)
}

func (l *loader) reportOwner(file Origin, setting string) {
	l.report(Finding{
		Severity: Warning, Origin: file, Problem: "is left out because neither the Administrators group nor the system owns it",
		Want: "the owner changed, or " + setting + " set",
	})
}

func (l *loader) addEnvFile(path string, content []byte) {
	list, findings := parseEnvFile(path, content)
	for _, f := range findings {
		if s := l.byName[l.env.key(f.Name)]; s == nil || !s.Foreign {
			l.report(f)
		}
	}
	l.addAssignments(list)
}

// addAssignments makes a layer of variables, reporting the unknown ones.
func (l *loader) addAssignments(list []assignment) {
	lay := layer{}
	for _, a := range list {
		s := l.byName[l.env.key(a.name)]
		switch {
		case s == nil && strings.HasPrefix(a.name, endpointPrefix) && len(a.name) > len(endpointPrefix):
			l.addEndpoint(a)
		case s == nil:
			l.reportUnknown(a)
		case s.Foreign:
		case s.Name == envConfigFile || s.Name == envInstanceFile:
			if a.origin.Source != SourceEnvironment {
				l.report(Finding{Severity: Notice, Origin: a.origin, Name: a.name, Problem: "has no effect in a file", Want: "it in the process environment"})
				continue
			}
			lay[s.key()] = append(lay[s.key()], a)
		case s.Name == a.name:
			lay[s.key()] = append([]assignment{a}, lay[s.key()]...)
		default:
			lay[s.key()] = append(lay[s.key()], a)
		}
	}
	l.layers = append(l.layers, lay)
}

// addEndpoint keeps AWS_ENDPOINT_URL_<SERVICE>; the first source wins.
func (l *loader) addEndpoint(a assignment) {
	service := strings.TrimPrefix(a.name, endpointPrefix)
	if _, set := l.cfg.AWS.EndpointURLs[service]; set || a.text == "" {
		return
	}
	if l.cfg.AWS.EndpointURLs == nil {
		l.cfg.AWS.EndpointURLs = map[string]string{}
	}
	l.cfg.AWS.EndpointURLs[service] = a.text
	l.cfg.origins[a.name] = a.origin
}

// reportUnknown reports a name that is not in the table. In the process environment
// only names that begin with ECS_ can be meant for the agent; in a file also those
// that are nearly known. The value is not shown: it may be a misspelt secret.
func (l *loader) reportUnknown(a assignment) {
	ours := strings.HasPrefix(a.name, "ECS_")
	if a.origin.Source == SourceEnvFile {
		ours = ours || strings.HasPrefix(a.name, "NON_ECS_") || strings.HasPrefix(a.name, "NONECS_")
	} else if !ours {
		return
	}
	if l.full() {
		return
	}
	var known []string
	for i := range l.table {
		if s := &l.table[i]; s.Name != "" && !s.Foreign && !s.Hidden && s.NoEffect == "" {
			known = append(known, s.Name)
		}
	}
	want := suggest(a.name, known)
	if !ours && want == "" {
		return
	}
	l.report(Finding{Severity: Warning, Origin: a.origin, Name: clip(a.name), Problem: "is not a known setting", Want: want})
}
