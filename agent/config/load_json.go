package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// userDataMember holds the configuration inside EC2 user data.
const userDataMember = "ECSAgentConfiguration"

// readJSONFile adds the JSON file. One that exists and cannot be used is fatal:
// nobody knows what it would have said (docs/spec/03 section 1.6).
func (l *loader) readJSONFile() {
	file := l.place(l.byName[envJSONFile])
	origin := Origin{Source: SourceJSONFile, Path: file.text}
	isDefault := file.origin.Source == SourceDefault
	content, err := l.src.ReadFile(file.text)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDefault:
		return
	case errors.Is(err, fs.ErrNotExist):
		l.report(Finding{
			Severity: Warning, Origin: file.origin, Name: envJSONFile, Value: file.text,
			Problem: fmt.Sprintf("names %s, which does not exist", file.text), Want: "an existing file",
		})
		return
	case errors.Is(err, fs.ErrPermission):
		l.report(Finding{Severity: Warning, Origin: origin, Problem: "cannot be opened and is left out: " + err.Error()})
		return
	case err != nil:
		l.report(Finding{Severity: Fatal, Origin: origin, Problem: "cannot be read: " + err.Error()})
		return
	case len(content) > maxFileBytes:
		l.report(Finding{Severity: Fatal, Origin: origin, Problem: "is larger than 1 MiB", Want: "a JSON object"})
		return
	}
	if isDefault && !l.trusted(file.text) {
		l.reportOwner(origin, envJSONFile)
		return
	}
	l.addJSON(content, origin)
}

// addJSON makes a layer of a JSON document.
func (l *loader) addJSON(content []byte, origin Origin) {
	content = trimBOM(content)
	if len(bytes.TrimSpace(content)) == 0 {
		return
	}
	var raw json.RawMessage
	if err := json.Unmarshal(content, &raw); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			origin.Line = lineAt(content, syntax.Offset)
		}
		l.report(Finding{Severity: l.jsonSeverity(origin), Origin: origin, Problem: "is not JSON: " + err.Error(), Want: "a JSON object"})
		return
	}
	l.addObject(content, origin)
}

// jsonSeverity says how bad an unusable value is: fatal in the file, which somebody
// wrote for the agent; a warning in user data.
func (l *loader) jsonSeverity(origin Origin) Severity {
	if origin.Source == SourceUserData {
		return Warning
	}
	return Fatal
}

// addObject makes a layer of a JSON object. Members are matched without regard to
// case, the last of several wins.
func (l *loader) addObject(content []byte, origin Origin) {
	members, err := object(content)
	if err != nil {
		l.report(Finding{Severity: l.jsonSeverity(origin), Origin: origin, Problem: err.Error(), Want: "a JSON object"})
		return
	}
	lay, seen := layer{}, map[string]Origin{}
	line, counted := 1, int64(0)
	for _, m := range members {
		at := origin
		if origin.Source == SourceJSONFile {
			line += bytes.Count(content[counted:m.offset], []byte("\n"))
			at.Line, counted = line, m.offset
		}
		name := strings.ToLower(m.name)
		if first, dup := seen[name]; dup {
			l.report(Finding{Severity: Warning, Origin: first, Name: clip(m.name), Problem: fmt.Sprintf("is set again at %s, which wins", at)})
		}
		seen[name] = at
		s := l.byMember[name]
		switch {
		case s == nil:
			l.reportMember(m.name, at)
		case isNull(m.raw):
		case s.JSON != "" && strings.EqualFold(m.name, s.JSON):
			lay[s.key()] = append([]assignment{{name: m.name, raw: m.raw, origin: at}}, dropSame(lay[s.key()], m.name)...)
		default:
			l.report(Finding{Severity: Notice, Origin: at, Name: m.name, Problem: "is an old name", Want: s.JSON})
			lay[s.key()] = append(dropSame(lay[s.key()], m.name), assignment{name: m.name, raw: m.raw, origin: at})
		}
	}
	l.layers = append(l.layers, lay)
}

// dropSame removes the earlier occurrence of a member.
func dropSame(list []assignment, name string) []assignment {
	var kept []assignment
	for _, a := range list {
		if !strings.EqualFold(a.name, name) {
			kept = append(kept, a)
		}
	}
	return kept
}

// reportMember reports a JSON member that is unknown or never had an effect.
func (l *loader) reportMember(name string, at Origin) {
	if s, ok := l.dead[strings.ToLower(name)]; ok {
		l.report(Finding{Severity: Notice, Origin: at, Name: name, Problem: "has no effect in JSON", Want: s.Name + " in the environment"})
		return
	}
	if l.full() {
		return
	}
	var known []string
	for i := range l.table {
		if s := &l.table[i]; s.JSON != "" {
			if strings.EqualFold(s.Name, name) {
				l.report(Finding{Severity: Warning, Origin: at, Name: clip(name), Problem: "is a variable, not a JSON member", Want: s.JSON})
				return
			}
			known = append(known, s.JSON)
		}
	}
	l.report(Finding{Severity: Warning, Origin: at, Name: clip(name), Problem: "is not a known setting", Want: suggest(name, known)})
}

// lineAt is the line, from 1, of a byte of the content.
func lineAt(content []byte, offset int64) int {
	if offset > int64(len(content)) {
		offset = int64(len(content))
	}
	return bytes.Count(content[:offset], []byte("\n")) + 1
}

// metadata returns the instance metadata if it may be asked. An external instance,
// the flag and the SDK's switch all mean no.
func (l *loader) metadata() IMDS {
	c := l.cfg
	off := l.early("ECS_EXTERNAL") || l.early("AWS_EC2_METADATA_DISABLED") || l.src.Flags.BlackholeIMDS
	c.BlackholeMetadata = l.early("ECS_EXTERNAL") || l.src.Flags.BlackholeIMDS
	if off {
		return nil
	}
	return l.src.IMDS
}

// early resolves a switch from the layers read so far.
func (l *loader) early(name string) bool {
	s := l.byName[l.env.key(name)]
	v, _, ok := l.choose(s, nil)
	on, _ := v.(bool)
	return ok && on
}

// readUserData adds the user data, if it is a JSON object with our member.
// Anything else is a script and none of our business.
func (l *loader) readUserData(ctx context.Context) {
	imds := l.metadata()
	if imds == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, userDataTimeout)
	defer cancel()
	origin := Origin{Source: SourceUserData}
	content, err := imds.UserData(ctx)
	if err != nil {
		l.report(Finding{Severity: Warning, Origin: origin, Problem: "cannot be read and is left out: " + err.Error()})
		return
	}
	if len(content) > maxFileBytes {
		l.report(Finding{Severity: Warning, Origin: origin, Problem: tooLarge})
		return
	}
	members, err := object(trimBOM(content))
	if err != nil {
		return
	}
	for _, m := range members {
		if strings.EqualFold(m.name, userDataMember) && !isNull(m.raw) {
			l.addObject(m.raw, origin)
		}
	}
}

// askRegion takes the region from the instance metadata when no source has it.
func (l *loader) askRegion(ctx context.Context) {
	if l.cfg.Region != "" {
		return
	}
	imds := l.metadata()
	if imds == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, regionTimeout)
	defer cancel()
	region, err := imds.Region(ctx)
	if err != nil {
		l.report(Finding{
			Severity: Warning, Origin: Origin{Source: SourceMetadata}, Name: envRegion,
			Problem: "cannot be read: " + err.Error(),
		})
		return
	}
	if region = strings.TrimSpace(region); region != "" {
		l.cfg.Region = region
		l.cfg.origins[envRegion] = Origin{Source: SourceMetadata}
	}
}
