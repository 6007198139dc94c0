package config

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// places are the sources that can hold a variable, highest first.
var places = []string{"environment", userFile, instanceFile}

// Of all usable values, the one of the highest source is in force, whatever else
// stands around it: no valid setting is lost.
func TestNoValidSettingIsLost(t *testing.T) {
	var names []string
	candidates := map[string]Setting{}
	for _, s := range Settings() {
		if s.Name == "" || s.Foreign || s.NoEffect != "" || s.Passthrough || !s.effectiveOn("linux") ||
			s.EmptyCounts || s.Name == envConfigFile || s.Name == envInstanceFile || s.Name == envJSONFile {
			continue
		}
		// These change others, or are checked together with others.
		switch s.Name {
		case "ECS_EXTERNAL", "ECS_ENABLE_TASK_ENI", "ECS_ENGINE_AUTH_TYPE", "ECS_ENGINE_AUTH_DATA", "ECS_AVAILABLE_LOGGING_DRIVERS",
			"ECS_RESERVED_PORTS", "ECS_BACKEND_HOST":
			continue
		}
		names, candidates[s.Name] = append(names, s.Name), s
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := host{env: []string{"AWS_DEFAULT_REGION=us-east-1"}, files: map[string]string{}}
		want := map[string]string{} // name to the place whose value is in force
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 12, rapid.ID).Draw(rt, "settings") {
			s := candidates[name]
			for _, where := range places {
				value := ""
				switch rapid.SampledFrom([]string{"absent", "good", "bad", "empty"}).Draw(rt, s.Name+" at "+where) {
				case "absent":
					continue
				case "good":
					value = inBounds(&s, sampleOf(t, &s))
					if want[s.Name] == "" {
						want[s.Name] = where
					}
				case "bad":
					value = malformed(&s)
				}
				if where == "environment" {
					h.env = append(h.env, s.Name+"="+value)
				} else {
					h.files[where] += fmt.Sprintf("# %s\n%s = %s\n", s.Text, s.Name, value)
				}
			}
		}
		c, findings, err := Load(context.Background(), h.sources())
		for _, s := range candidates {
			where := want[s.Name]
			if where == "" {
				continue
			}
			if got := c.Origin(s.Name).String(); !strings.HasPrefix(got, where) {
				rt.Fatalf("%s comes from %s, want %s\nenvironment %q\nfiles %q\nfindings %q\nerror %v", s.Name, got, where, h.env, h.files, lines(findings), err)
			}
			v, _ := s.value.parse(inBounds(&s, sampleOf(t, &s)))
			if got := s.value.format(s.value.load(c)); got != s.value.format(v) && s.Name != "ECS_ENABLE_HIGH_DENSITY_ENI" {
				rt.Fatalf("%s is %s, want %s", s.Name, got, s.value.format(v))
			}
		}
	})
}

// inBounds returns the value, or a limit of the setting if the value is outside.
func inBounds(s *Setting, value string) string {
	if s.Bounds == nil {
		return value
	}
	v, _ := s.value.parse(value)
	for _, limit := range []struct {
		text string
		sign int
	}{{s.Bounds.min, -1}, {s.Bounds.max, 1}} {
		if limit.text == "" {
			continue
		}
		edge, _ := s.value.parse(limit.text)
		if s.value.compare(v, edge) == limit.sign {
			return limit.text
		}
	}
	return value
}

// malformed returns a text the setting cannot use; empty if it can use any.
func malformed(s *Setting) string {
	for _, text := range []string{"?", "{", "\"x"} {
		if _, err := s.value.parse(text); err != nil {
			if fatal, _ := problemOf(err); fatal != "" {
				return text
			}
		}
	}
	return ""
}

// No secret is in any output, wherever it stands and however it is misspelt.
func TestSecretsAreNeverShown(t *testing.T) {
	const hidden = "hunter2"
	names := []string{"ECS_ENGINE_AUTH_DATA", "ECS_ENGINE_AUTH_DTA", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KY"}
	forms := []string{
		hidden, `{"r":{"password":"` + hidden + `"}}`, `{"r":{"auth":"` + hidden + `"}}`, `"` + hidden, ` ` + hidden + ` `, `{` + hidden, `${` + hidden + `}`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		name, form := rapid.SampledFrom(names).Draw(rt, "name"), rapid.SampledFrom(forms).Draw(rt, "form")
		kind := rapid.SampledFrom([]string{"", "docker", "dockercfg", "x"}).Draw(rt, "kind")
		separator := rapid.SampledFrom([]string{"=", " = ", " ", ""}).Draw(rt, "separator")
		if separator == "" {
			separator = " "
		}
		encoded, _ := json.Marshal(form)
		h := host{
			env: []string{name + "=" + form, "ECS_ENGINE_AUTH_TYPE=" + kind, "HTTPS_PROXY=http://user:" + hidden + "@proxy:1"},
			files: map[string]string{
				userFile:     name + separator + form + "\nECS_BACKEND_HOST=https://u:" + hidden + "@x\nAWS_ENDPOINT_URL_S3=http://u:" + hidden + "@y\n",
				instanceFile: "AWS_ENDPOINT_URL=ftp://u:" + hidden + "@y\nHTTP_PROXY=ftp://u:" + hidden + "@y\n",
				jsonFile:     `{"EngineAuthData":` + string(encoded) + `,"EngineAuthDta":` + string(encoded) + `}`,
			},
		}
		c, findings, err := Load(context.Background(), h.sources())
		var out bytes.Buffer
		RunCheck(context.Background(), &out, h.sources(), "", FormatJSON)
		RunCheck(context.Background(), &out, h.sources(), "", FormatText)
		RunCheck(context.Background(), &out, h.sources(), userFile, FormatText)
		RunShow(context.Background(), &out, h.sources(), FormatJSON)
		RunShow(context.Background(), &out, h.sources(), FormatText)
		fmt.Fprintf(&out, "%v %+v", err, findings)
		fmt.Fprintf(&out, "%v", c.EngineAuthData)
		if strings.Contains(out.String(), hidden) {
			rt.Fatalf("the secret is shown: %s", out.String())
		}
	})
}

func FuzzEnvFile(f *testing.F) {
	for _, seed := range []string{
		"", "ECS_CLUSTER=prod\n", "export A=b\r\n", "\xef\xbb\xbfA='b'", "=x\n=", "A", "#A=b\n;A=b", "A=\"", "ECS_RESERVED_PORTS=[1,2",
		"ECS_INSTANCE_ATTRIBUTES={\"a\":\"b\"}\nECS_INSTANCE_ATTRIBUTES={", "ECS_CONTAINER_STOP_TIMEOUT=-1h\nECS_LOGLEVEL=\x00",
		"AWS_ENDPOINT_URL_=x\nAWS_ENDPOINT_URL_S3=x", "ECS_TASK_METADATA_RPS_LIMIT=,\nECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA=[]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkLoad(t, host{files: map[string]string{userFile: text}}, strings.Count(text, "\n")+1)
		list, _ := parseEnvFile(userFile, []byte(text))
		for _, a := range list {
			if !validName(a.name) || strings.ContainsAny(a.text, "\x00\n") {
				t.Errorf("assignment %q=%q", a.name, a.text)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", "[]", `{"Cluster":"x"}`, `{"cluster":1,"CLUSTER":null}`, `{"ReservedPorts":[1,"2",null]}`, `{"EngineAuthData":{"a":`,
		`{"InstanceAttributes":{"a":{}}}`, `{"ImagePullBehavior":1e9}`, `{"DockerStopTimeout":-9223372036854775808}`, "\xef\xbb\xbf{\"\xff\":1}",
		`{"OverrideAWSVPCLocalIPv4Address":"1.2.3.4/40","AWSVPCAdditionalLocalRoutes":["::/0"]}`, strings.Repeat("[", 20000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkLoad(t, host{files: map[string]string{jsonFile: text}}, strings.Count(text, "\n")+1)
		checkLoad(t, host{userData: `{"ECSAgentConfiguration":` + text + `}`}, 0)
	})
}

// checkLoad loads, and checks what must hold for any input.
func checkLoad(t *testing.T, h host, maxLine int) {
	t.Helper()
	c, findings, err := Load(context.Background(), h.sources())
	fatal := false
	for _, f := range findings {
		fatal = fatal || f.Severity == Fatal
		if f.Origin.Line < 0 || f.Origin.Line > maxLine || f.Problem == "" {
			t.Errorf("finding %+v in %d lines", f, maxLine)
		}
	}
	if fatal != (err != nil) {
		t.Errorf("error %v with %q", err, lines(findings))
	}
	for _, v := range Show(c) {
		if v.Name == "" || v.Origin == "" || v.Origin == "not set" {
			t.Errorf("shown %+v", v)
		}
	}
	if c.ContainerStopTimeout <= 0 || c.Log.MaxFileSizeMB <= 0 || c.TaskMetadataRate.Steady <= 0 || c.DynamicHostPortRange.First == 0 {
		t.Errorf("settings out of bounds: %+v", c)
	}
}

func BenchmarkLoad(b *testing.B) {
	h := host{env: []string{"AWS_DEFAULT_REGION=us-east-1"}, files: map[string]string{userFile: "ECS_CLUSTER=prod\n", jsonFile: `{"Cluster":"x"}`}}
	src := h.sources()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Load(context.Background(), src); err != nil {
			b.Fatal(err)
		}
	}
}
