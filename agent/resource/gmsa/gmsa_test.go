package gmsa

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ecsagent/agent/resource/objects"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

const (
	taskARN   = "arn:aws:ecs:eu-west-1:111122223333:task/demo/0123456789abcdef0123456789abcdef"
	taskID    = "0123456789abcdef0123456789abcdef"
	objectARN = "arn:aws:s3:::specs/web/web.json"
	paramARN  = "arn:aws:ssm:eu-west-1:111122223333:parameter/gmsa/web"
	spec      = `{"CmsPlugins":["ActiveDirectory"],"DomainJoinConfig":{"DnsName":"contoso.com"},` +
		`"ActiveDirectoryConfig":{"GroupManagedServiceAccounts":[{"Name":"WebApp01","Scope":"contoso.com"}],` +
		`"HostAccountConfig":{"PortableCcgVersion":"1","PluginGUID":"{859E1386-BDB4-49E8-85C7-3070B13920E1}","PluginInput":"{\"credentialArn\":\"arn:x&y\"}"}}}`
)

// stand plays S3, Parameter Store, the registry and the execution role.
type stand struct {
	fail error
	keys map[string]map[string]string
	id   string // of the role's access key
}

func (s *stand) Get(_ context.Context, _ aws.CredentialsProvider, bucket, key string) ([]byte, error) {
	if s.fail != nil || bucket != "specs" || key != "web/web.json" {
		return nil, errors.Join(errors.New("no such object"), s.fail)
	}
	return []byte("\xef\xbb\xbf" + strings.ReplaceAll(spec, ",", ",\r\n  ")), nil
}

func (s *stand) Find(_ context.Context, _ string, wanted []task.Secret) (map[task.Secret]secret.String, error) {
	if s.fail != nil || wanted[0].ValueFrom != paramARN {
		return nil, errors.Join(errors.New("no such parameter"), s.fail)
	}
	return map[task.Secret]secret.String{wanted[0]: spec}, nil
}

func (s *stand) Set(key string, values map[string]string) error {
	s.keys[key] = maps.Clone(values)
	return s.fail
}

func (s *stand) Delete(key string) error {
	delete(s.keys, key)
	return nil
}

func (s *stand) Keys() ([]string, error) { return slices.Collect(maps.Keys(s.keys)), nil }

// sources are those that it plays.
func sources(s *stand) Sources {
	return Sources{Objects: objects.New(objects.Options{Client: s, Credentials: lender(s)}), Parameters: s}
}

// lender gives the credentials of the one role that there is.
func lender(s *stand) func(id string) aws.CredentialsProvider {
	return func(id string) aws.CredentialsProvider {
		if id != "exec" {
			return nil
		}
		return credentials.NewStaticCredentialsProvider(s.id, "SECRET", "TOKEN")
	}
}

func newHook(t *testing.T, domainless bool) (*Hook, *stand) {
	t.Helper()
	s := &stand{keys: map[string]map[string]string{}, id: "AKID1"}
	h := New(Options{Dir: filepath.Join(t.TempDir(), "credentialspecs"), Sources: sources(s), Registry: s, Domainless: domainless,
		Credentials: lender(s)})
	if err := os.MkdirAll(h.opts.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.opts.Dir, "web.json"), []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	return h, s
}

func snapshot(specs ...string) *task.Snapshot {
	s := &task.Spec{ARN: taskARN, ExecutionCredentialsID: "exec"}
	for i, text := range specs {
		c := task.Container{Name: string(rune('a' + i))}
		if strings.HasPrefix(text, "{") {
			c.DockerHostConfig = text
		} else if text != "" {
			c.CredentialSpecs = []string{text}
		}
		s.Containers = append(s.Containers, c)
	}
	st := task.NewState(s, task.Running, time.Now())
	return st.Snapshot(s)
}

func (h *Hook) files(t *testing.T) (names []string) {
	t.Helper()
	all, err := os.ReadDir(h.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

// TestJoined: for hosts in a domain. Docker gets the names of files; those that were made go
// with the task.
func TestJoined(t *testing.T) {
	h, s := newHook(t, false)
	snap := snapshot("credentialspec:file://web.json", "credentialspec:"+objectARN, `{"SecurityOpt":["x","credentialspec:`+paramARN+`"]}`, "")
	needs, err := h.Needs(snap.Spec)
	if err != nil || len(needs) != 1 || strings.Join(needs[0].Containers, "") != "abc" || !needs[0].NeedsRole || needs[0].Before != task.ContainerCreated {
		t.Fatalf("%+v %v", needs, err)
	}
	for range 2 {
		got, err := h.Provision(t.Context(), snap, &needs[0])
		if err != nil {
			t.Fatal(err)
		}
		sum := strings.TrimPrefix(got.Inputs["c"].CredentialSpec, "credentialspec=file://")
		if got.Inputs["a"].CredentialSpec != "credentialspec=file://web.json" || got.Inputs["b"].CredentialSpec != "credentialspec=file://s3_"+taskID+"_web.json" || len(sum) != 64 {
			t.Errorf("%q %q %q", got.Inputs["a"].CredentialSpec, got.Inputs["b"].CredentialSpec, sum)
		}
		if preview := h.Preview(snap.Spec, &needs[0]); preview.Inputs["b"].CredentialSpec != got.Inputs["b"].CredentialSpec {
			t.Errorf("the preview has %q", preview.Inputs["b"].CredentialSpec)
		}
		for _, name := range []string{"s3_" + taskID + "_web.json", sum} {
			if text, err := os.ReadFile(filepath.Join(h.opts.Dir, name)); err != nil || string(text) != spec {
				t.Errorf("%s: %s %v", name, text, err)
			}
		}
	}
	if len(s.keys) != 0 {
		t.Errorf("registry: %v", s.keys)
	}
	for range 2 {
		if err := h.CleanUp(t.Context(), snap, &needs[0], nil); err != nil {
			t.Error(err)
		}
		if got := h.files(t); !slices.Equal(got, []string{"web.json"}) {
			t.Errorf("left: %q", got)
		}
	}
}

// TestDomainless: the plug-in is told of a registry key, where the role's credentials are
// and are renewed.
func TestDomainless(t *testing.T) {
	h, s := newHook(t, true)
	snap := snapshot("credentialspecdomainless:file://web.json", "credentialspecdomainless:"+objectARN)
	needs, err := h.Needs(snap.Spec)
	if err != nil || !needs[0].NeedsRole {
		t.Fatalf("%+v %v", needs, err)
	}
	got, err := h.Provision(t.Context(), snap, &needs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"a", "b"} {
		text, err := os.ReadFile(filepath.Join(h.opts.Dir, strings.TrimPrefix(got.Inputs[c].CredentialSpec, "credentialspec=file://")))
		if err != nil {
			t.Fatal(err)
		}
		var made struct {
			DomainJoinConfig      struct{ DnsName string }
			ActiveDirectoryConfig struct {
				HostAccountConfig struct{ PluginGUID, PluginInput string }
			}
		}
		if err := json.Unmarshal(text, &made); err != nil || made.DomainJoinConfig.DnsName != "contoso.com" ||
			made.ActiveDirectoryConfig.HostAccountConfig.PluginGUID != "{859E1386-BDB4-49E8-85C7-3070B13920E1}" ||
			made.ActiveDirectoryConfig.HostAccountConfig.PluginInput !=
				`{"credentialArn":"arn:x&y","regKeyPath":"HKEY_LOCAL_MACHINE\\System\\CurrentControlSet\\Services\\AmazonECSCCGPlugin\\`+taskARN+`"}` {
			t.Errorf("%s %v", text, err)
		}
	}
	if k := s.keys[taskARN]; k["AKID"] != "AKID1" || k["SKID"] != "SECRET" || k["SESSIONTOKEN"] != "TOKEN" {
		t.Errorf("registry: %v", s.keys)
	}
	s.id = "AKID2"
	if err := h.Renew(t.Context(), snap); err != nil || s.keys[taskARN]["AKID"] != "AKID2" {
		t.Errorf("%v %v", s.keys, err)
	}
	if err := h.Renew(t.Context(), snapshot("credentialspec:file://web.json")); err != nil || len(s.keys) != 1 {
		t.Errorf("%v %v", s.keys, err)
	}
	if err := h.CleanUp(t.Context(), snap, &needs[0], nil); err != nil || len(s.keys) != 0 || len(h.files(t)) != 1 {
		t.Errorf("%v, left %v and %q", err, s.keys, h.files(t))
	}
}

func TestSweep(t *testing.T) {
	h, s := newHook(t, true)
	const gone = "ffffffffffffffffffffffffffffffff"
	for _, name := range []string{"s3_" + gone + "_web.json", "s3_" + taskID + "_web.json", "s3_mine.json"} {
		if err := os.WriteFile(filepath.Join(h.opts.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.keys = map[string]map[string]string{taskARN: nil, strings.ReplaceAll(taskARN, taskID, gone): nil, "somebody's": nil}
	if err := h.Sweep(t.Context(), func(id string) bool { return id == taskID }); err != nil {
		t.Error(err)
	}
	if got := h.files(t); !slices.Equal(got, []string{"s3_" + taskID + "_web.json", "s3_mine.json", "web.json"}) || len(s.keys) != 2 || s.keys[taskARN] != nil {
		t.Errorf("left %q and %v", got, s.keys)
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"credentialspec:file://../web.json":              "want the name of a file in Docker's folder",
		"credentialspec:file://":                         "want the name of a file",
		`credentialspec:file://C:\web.json`:              "want the name of a file",
		"credentialspec:arn:aws:sqs:eu-west-1:1:q":       "unsupported credentialspec ARN, only s3/ssm ARNs are valid",
		"credentialspec:arn:aws:s3:::bucket":             "want the ARN of an object",
		"credentialspec:arn:aws:s3:::bucket/a/..":        "want the ARN of an object",
		"credentialspec:web.json":                        "unsupported credentialspec ARN",
		"web.json":                                       "want credentialspec:VALUE",
		"credentialspecdomainless:" + objectARN:          "not offered by this container instance",
		"credentialspec:arn:aws:ssm:eu-west-1:1:x/param": "unsupported credentialspec ARN",
	} {
		h, _ := newHook(t, false)
		if _, err := h.Needs(snapshot(text).Spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	h, s := newHook(t, true)
	poor := snapshot("credentialspec:" + objectARN).Spec
	poor.ExecutionCredentialsID = ""
	if _, err := h.Needs(poor); err == nil || err.Error() != "credentialspec resource: unable to find execution role credentials" {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"credentialspec:file://none.json": "none.json",
		"credentialspec:" + objectARN:     "no such object",
		"credentialspec:" + paramARN:      "no such parameter",
	} {
		s.fail = errors.New("boom")
		if _, err := h.Provision(t.Context(), snapshot(text), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "credentialspec resource: ") {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	for _, bad := range []string{`{}`, `{"ActiveDirectoryConfig":{}}`, `{"ActiveDirectoryConfig":{"HostAccountConfig":{"PluginInput":"x"}}}`, `[]`} {
		if _, err := withRegistry([]byte(bad), "k"); err == nil || !strings.Contains(err.Error(), "PluginInput") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := compact([]byte("secret text")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
