package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// samples holds a value of each kind that is no setting's default.
var samples = map[string]string{
	text.kind: "sample", path.kind: "/sample", duration.kind: "17s", decimal.kind: "7.5",
	ports.kind: "[4711]", stringList.kind: `["awslogs","sample"]`, commaList.kind: "a:1,b:2",
	stringMap(true).kind: `{"k":"v"}`, prefixes.kind: `["10.9.0.0/16"]`, prefix.kind: "169.254.172.9/22",
	authData.kind: `{"registry":{}}`, portRange.kind: "4000-4999", rateLimit.kind: "7,9",
	integer(0, 1).kind: "17", address.kind: "127.0.0.1:7", unixURL.kind: "unix:///sample.sock",
}

// sampleOf returns a value for a setting that differs from its default.
func sampleOf(t *testing.T, s *Setting) string {
	t.Helper()
	kind := s.value.kind()
	def := s.Linux + s.Windows
	if kind == boolean.kind {
		if strings.Contains(def, "true") {
			return "false"
		}
		return "true"
	}
	if words := regexp.MustCompile("`([a-z0-9_-]+)`").FindAllStringSubmatch(kind, -1); strings.HasPrefix(kind, "one of") {
		for _, w := range words {
			if w[1] != s.Linux {
				return w[1]
			}
		}
	}
	if sample, ok := samples[kind]; ok {
		return sample
	}
	t.Fatalf("no sample of kind %q", kind)
	return ""
}

func TestEveryRowIsComplete(t *testing.T) {
	names := map[string]bool{}
	for _, s := range Settings() {
		for _, name := range append([]string{s.Name, s.JSON, s.JSONAlias, s.JSONDead}, s.Aliases...) {
			if name == "" {
				continue
			}
			if names[name] {
				t.Errorf("%s stands twice", name)
			}
			names[name] = true
		}
		if s.key() == "" || s.value == nil {
			t.Errorf("row %+v has no name or no field", s)
			continue
		}
		if s.JSON != "" && !s.value.hasJSON() {
			t.Errorf("%s: no JSON form for member %s", s.key(), s.JSON)
		}
		if !s.Hidden && !s.Foreign && !strings.HasSuffix(s.Text, ".") {
			t.Errorf("%s: text %q is no sentence", s.key(), s.Text)
		}
		values := []string{s.Linux, s.Windows}
		if s.Bounds != nil {
			values = append(values, s.Bounds.min, s.Bounds.max, s.Bounds.minWindows)
		}
		for _, v := range values {
			if v == "" {
				continue
			}
			parsed, err := s.value.parse(v)
			if err != nil {
				t.Errorf("%s: %q: %v", s.key(), v, err)
			}
			if got := s.value.format(parsed); got != v {
				t.Errorf("%s: %q is written %q", s.key(), v, got)
			}
		}
	}
}

// Each row decides one field, no two rows the same one, and no field is left over.
func TestEveryRowHasItsOwnField(t *testing.T) {
	owner := map[string]string{
		"FIPS": "derived", "GMSADomainless": "derived", "AcceptInsecureCertificates": "flag", "BlackholeMetadata": "flag or external",
		"AWS.EndpointURLs": "AWS_ENDPOINT_URL_<SERVICE>",
	}
	for _, s := range Settings() {
		if s.NoEffect != "" || s.Foreign || s.Name == endpointPrefix+"<SERVICE>" || s.Name == "REQUEST_METHOD" {
			continue
		}
		v, err := s.value.parse(sampleOf(t, &s))
		if err != nil {
			t.Errorf("%s: sample: %v", s.key(), err)
			continue
		}
		var c Config
		if s.value.kind() == boolean.kind {
			v = true
		}
		s.value.store(&c, v)
		changed := nonZero(reflect.ValueOf(c), "")
		if s.key() == "ECS_TASK_METADATA_RPS_LIMIT" {
			continue // its two members own the fields
		}
		if len(changed) != 1 {
			t.Errorf("%s sets %v", s.key(), changed)
			continue
		}
		if other := owner[changed[0]]; other != "" {
			t.Errorf("%s and %s both set %s", s.key(), other, changed[0])
		}
		owner[changed[0]] = s.key()
		if got := s.value.load(&c); !reflect.DeepEqual(got, v) {
			t.Errorf("%s: stored %v, loaded %v", s.key(), v, got)
		}
	}
	for _, name := range leaves(reflect.TypeOf(Config{}), "") {
		if owner[name] == "" {
			t.Errorf("no row sets %s", name)
		}
	}
}

func isGroup(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeOf(Config{}).PkgPath() && t.Name() != "PortRange"
}

func nonZero(v reflect.Value, prefix string) []string {
	var names []string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case !f.IsExported() && prefix == "":
		case isGroup(f.Type):
			names = append(names, nonZero(v.Field(i), prefix+f.Name+".")...)
		case !v.Field(i).IsZero():
			names = append(names, prefix+f.Name)
		}
	}
	return names
}

func leaves(t reflect.Type, prefix string) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case !f.IsExported():
		case isGroup(f.Type):
			names = append(names, leaves(f.Type, prefix+f.Name+".")...)
		default:
			names = append(names, prefix+f.Name)
		}
	}
	return names
}

// Every variable and JSON member that the specification lists is in the table.
func TestTheSpecificationIsCovered(t *testing.T) {
	content, err := os.ReadFile("../../docs/spec/03-config-init-packaging.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := string(content)
	_, reference, ok := strings.Cut(spec, "### 1.10 Variable reference")
	reference, _, _ = strings.Cut(reference, "\n## 2.")
	_, logs, ok2 := strings.Cut(spec, "### 3.2 Variables")
	logs, _, _ = strings.Cut(logs, "### 3.3")
	if !ok || !ok2 {
		t.Fatal("the specification has no variable reference")
	}
	known := map[string]bool{}
	for _, s := range Settings() {
		for _, name := range append([]string{s.Name, s.JSON, s.JSONAlias, s.JSONDead}, s.Aliases...) {
			known[name] = true
		}
	}
	variable := regexp.MustCompile("`([A-Z][A-Za-z0-9_]*|https?_proxy|no_proxy)`")
	count := 0
	for _, line := range strings.Split(reference+logs, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		columns := cells[1:2]
		if len(cells) > 6 {
			columns = cells[1:3] // the second column is the JSON member there
		}
		for _, cell := range columns {
			cell, _, _ = strings.Cut(cell, "(")
			for _, m := range variable.FindAllStringSubmatch(cell, -1) {
				count++
				if !known[m[1]] {
					t.Errorf("%s is not in the table: %s", m[1], line)
				}
			}
		}
	}
	if count < 200 {
		t.Errorf("only %d names found in the specification", count)
	}
}
