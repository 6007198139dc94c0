package config

import (
	"fmt"
	"strings"
)

// resolveAll decides every setting of the table and stores it.
func (l *loader) resolveAll() {
	for i := range l.table {
		s := &l.table[i]
		if s.Foreign {
			continue
		}
		if s.Under != "" && l.cfg.Explicit(s.Under) {
			l.reportShadowed(s)
			continue
		}
		l.resolve(s)
	}
	l.applyFlags()
}

// reportShadowed reports the candidates of a setting that another one decides.
func (l *loader) reportShadowed(s *Setting) {
	for _, lay := range l.layers {
		for _, a := range lay[s.key()] {
			l.report(Finding{
				Severity: Notice, Origin: a.origin, Name: a.name,
				Problem: fmt.Sprintf("has no effect because %s is set (%s)", s.Under, l.cfg.origins[s.Under]),
			})
		}
	}
}

// resolve decides one setting: the first usable candidate, kept within its bounds,
// else the default.
func (l *loader) resolve(s *Setting) {
	var bad []Finding
	v, a, ok := l.choose(s, &bad)
	used := "the next source's value"
	if !ok {
		v, a.origin = l.defaultOf(s), Origin{Source: SourceDefault}
		if def := s.show(s.value.format(v)); def != "" && s.defaultFor(l.goos) != "" {
			used = "the default " + def
		} else {
			used = "the default"
		}
	}
	for _, f := range bad {
		if f.Severity == Warning {
			f.Problem += "; " + used + " is used"
		}
		l.report(f)
	}
	if ok && !s.effectiveOn(l.goos) {
		l.report(Finding{Severity: Notice, Origin: a.origin, Name: a.name, Problem: "has no effect on " + l.goos})
		v, a.origin = l.defaultOf(s), Origin{Source: SourceDefault}
	}
	if ok && s.NoEffect != "" && (a.origin.Source != SourceEnvironment || strings.HasPrefix(a.name, "ECS_")) {
		l.report(Finding{Severity: Notice, Origin: a.origin, Name: a.name, Problem: "has no effect: " + plain(s.NoEffect)})
	}
	if ok {
		v, a.origin = l.bound(s, v, a)
	}
	s.value.store(l.cfg, v)
	if s.effectiveOn(l.goos) {
		l.cfg.origins[s.key()] = a.origin
	}
}

// choose returns the value of the highest source that holds a usable one. Unusable
// ones and odd ones are added to bad, if it is not nil.
func (l *loader) choose(s *Setting, bad *[]Finding) (v any, from assignment, ok bool) {
	for _, lay := range l.layers {
		for _, a := range lay[s.key()] {
			value, usable := l.parse(s, &a, !ok, bad)
			if usable && !ok {
				v, from, ok = value, a, true
			}
		}
	}
	return v, from, ok
}

// parse turns one candidate into a value. first says that no better candidate is
// usable, so that a malformed value may be fatal.
func (l *loader) parse(s *Setting, a *assignment, first bool, bad *[]Finding) (any, bool) {
	want := s.value.want()
	if a.raw != nil {
		want = "" // the accepted forms are those of text
	}
	report := func(severity Severity, shown, problem string) {
		if bad != nil {
			*bad = append(*bad, Finding{Severity: severity, Origin: a.origin, Name: a.name, Value: shown, Problem: problem, Want: want})
		}
	}
	var (
		v     any
		err   error
		shown = s.show(clip(a.text))
	)
	if a.raw != nil {
		shown = s.show(clip(string(a.raw)))
		v, err = s.value.decode(a.raw)
	} else {
		if strings.TrimSpace(a.text) == "" && !s.EmptyCounts {
			return nil, false
		}
		v, err = s.value.parse(a.text)
	}
	problem, mention := problemOf(err)
	if problem != "" {
		severity := Warning
		if first && s.value.malformedIsFatal() {
			severity = Fatal
		}
		if a.raw != nil && l.jsonSeverity(a.origin) == Fatal {
			severity = Fatal
		}
		report(severity, shown, quoted(shown)+problem)
		return nil, false
	}
	if mention != "" {
		report(Notice, shown, quoted(shown)+mention)
	}
	if s.value.isUnset(v) {
		if a.raw == nil && l.defaultText(s) != s.value.format(v) && l.defaultText(s) != "" {
			report(Warning, shown, quoted(shown)+"means not set")
		}
		return nil, false
	}
	l.adjust(s, a, &v, report)
	return v, true
}

// adjust applies what depends on where a text came from: host paths, and blanks or
// quotes in the process environment that look unintended.
func (l *loader) adjust(s *Setting, a *assignment, v *any, report func(Severity, string, string)) {
	str, isText := (*v).(string)
	if !isText {
		return
	}
	if a.origin.Source == SourceEnvironment && s.NoEffect == "" {
		switch {
		case len(str) >= 2 && (str[0] == '"' || str[0] == '\'') && str[0] == str[len(str)-1]:
			report(Notice, s.show(str), "has quotes around its value, which are part of it")
		case str != strings.TrimSpace(str):
			report(Notice, s.show(str), "has blanks around its value, which are part of it")
		}
	}
	if strings.Contains(str, "${") || strings.Contains(str, "$(") {
		report(Notice, s.show(str), "has a $ expression in its value, which is not expanded")
	}
	if s.value.kind() != path.kind {
		return
	}
	if host := l.hostPath(s, str); host != str {
		if l.goos != "windows" {
			a.origin.Note = "for " + str
		}
		*v = host
	}
}

func quoted(shown string) string {
	if shown == "" || shown == redacted {
		return "the value "
	}
	if strings.ContainsAny(shown, "\"\n\r\t") {
		return shown + " "
	}
	return `"` + shown + `" `
}

// plain takes the marks of the reference page out of a text.
func plain(s string) string { return strings.ReplaceAll(s, "`", "") }

// defaultText is the default as the table has it, base directories filled in.
func (l *loader) defaultText(s *Setting) string { return l.expand(s.defaultFor(l.goos)) }

// defaultOf parses the default; the zero value if the table has none.
func (l *loader) defaultOf(s *Setting) any {
	def := l.defaultText(s)
	if def == "" || !s.effectiveOn(l.goos) && s.defaultFor(l.goos) == "" {
		return nil
	}
	v, err := s.value.parse(def)
	if err != nil {
		return nil
	}
	return v
}

// bound keeps a value within the setting's limits and returns where the result
// comes from.
func (l *loader) bound(s *Setting, v any, a assignment) (any, Origin) {
	if s.Bounds == nil {
		return v, a.origin
	}
	for _, limit := range []struct {
		text string
		sign int
		word string
	}{{s.Bounds.minFor(l.goos), -1, "below"}, {s.Bounds.max, 1, "above"}} {
		if limit.text == "" {
			continue
		}
		edge, err := s.value.parse(limit.text)
		if err != nil || s.value.compare(v, edge) != limit.sign {
			continue
		}
		shown := s.show(s.value.format(v))
		problem := fmt.Sprintf("%s is %s %s", shown, limit.word, limit.text)
		use, word, origin := edge, "the limit", a.origin
		origin.Note = problem
		if s.Bounds.toDefault {
			use, word, origin = l.defaultOf(s), "the default", Origin{Source: SourceDefault, Note: problem}
		}
		l.report(Finding{
			Severity: Warning, Origin: a.origin, Name: a.name, Value: shown,
			Problem: fmt.Sprintf("%s; %s %s is used", problem, word, s.value.format(use)),
			Want:    s.Bounds.describe(l.goos),
		})
		return use, origin
	}
	return v, a.origin
}

// applyFlags lets the command line win.
func (l *loader) applyFlags() {
	c, f := l.cfg, l.src.Flags
	flag := Origin{Source: SourceFlag}
	c.AcceptInsecureCertificates = f.AcceptInsecure
	if f.ConfigFile != "" {
		c.ConfigFile = f.ConfigFile
		c.origins[envConfigFile] = flag
	}
	driver, file := f.LogLevelDriver, f.LogLevelOnInstance
	if f.LogLevel != "" {
		driver, file = f.LogLevel, f.LogLevel
	}
	for _, level := range []struct {
		given, flag, name string
		at                *string
	}{
		{driver, "-loglevel-driver", "ECS_LOGLEVEL", &c.Log.Level},
		{file, "-loglevel-on-instance", "ECS_LOGLEVEL_ON_INSTANCE", &c.Log.LevelOnInstance},
	} {
		if level.given == "" {
			continue
		}
		word, err := logLevel.parse(strings.TrimSpace(level.given))
		if err != nil {
			l.report(Finding{
				Severity: Warning, Origin: flag, Name: level.flag, Value: clip(level.given),
				Problem: quoted(clip(level.given)) + "is not a known word; the level stays as it was", Want: logLevel.want,
			})
			continue
		}
		*level.at = word
		c.origins[level.name] = flag
	}
}
