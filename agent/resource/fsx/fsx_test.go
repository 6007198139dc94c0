package fsx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

const (
	parameter = "arn:aws:ssm:eu-west-1:111122223333:parameter/fsx"
	other     = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:fsx-AbCdEf"
	share     = `\\amznfsx1.corp.example.com\share\orders`
)

// stand plays the services and the drives of a host.
type stand struct {
	mu      sync.Mutex
	value   string
	name    string // of the file system in the DNS
	drives  map[string]string
	login   Login
	mapping error
}

func (s *stand) Find(_ context.Context, id string, wanted []task.Secret) (map[task.Secret]secret.String, error) {
	if id != "exec" {
		return nil, errors.New("who?")
	}
	return map[task.Secret]secret.String{wanted[0]: secret.String(s.value)}, nil
}

// run plays PowerShell.
func (s *stand) run(_ context.Context, script string, v map[string]string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	letter := v["ECS_FSX_DRIVE"]
	if strings.Contains(script, letter) || v["ECS_FSX_PASSWORD"] != "" && strings.Contains(script, v["ECS_FSX_PASSWORD"]) {
		return "", fmt.Errorf("values in a script: %s", script)
	}
	switch {
	case strings.Contains(script, "New-SmbGlobalMapping"):
		s.login = Login{v["ECS_FSX_USER"], secret.String(v["ECS_FSX_PASSWORD"])}
		if s.mapping == nil {
			s.drives[letter] = v["ECS_FSX_SHARE"]
		}
		return "", s.mapping
	case strings.Contains(script, "Remove-SmbGlobalMapping"):
		delete(s.drives, letter)
		return "", nil
	case strings.Contains(script, "Get-SmbGlobalMapping"):
		return s.drives[letter] + "\r\n", nil
	}
	return "", errors.New("unknown script " + script)
}

func (s *stand) letters() (list []string, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.drives {
		list = append(list, l)
	}
	return append(list, "C:", "z:"), nil
}

func newHook(t *testing.T) (*Hook, *stand) {
	t.Helper()
	s := newStand()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "AWSSimbaAPIService_v20180301.DescribeFileSystems" || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/fsx/aws4_request") {
			t.Errorf("called for %v", r.Header)
		}
		_, _ = fmt.Fprintf(w, `{"FileSystems":[{"FileSystemId":"fs-1","DNSName":%q}]}`, s.name)
	}))
	t.Cleanup(service.Close)
	return s.hook(service.Client(), service.URL), s
}

func newStand() *stand {
	return &stand{value: `{"username":"svc","password":"pass word"}`, name: "amznfsx1.corp.example.com", drives: map[string]string{}}
}

// hook is one that asks FSx at an address.
func (s *stand) hook(client *http.Client, fsx string) *Hook {
	return New(Options{
		JSONOptions: awsenv.JSONOptions{HTTP: client, Getenv: func(name string) string {
			if name == "AWS_ENDPOINT_URL_FSX" {
				return fsx
			}
			return ""
		}, Credentials: func(id string) aws.CredentialsProvider {
			if id != "exec" {
				return nil
			}
			return credentials.NewStaticCredentialsProvider("AKID", "SECRET", "")
		}},
		Region: "eu-west-1", Parameters: s, Secrets: s, Drives: Commands{Letters: s.letters, Run: s.run},
	})
}

func snapshot(edit func(*task.FSxVolume)) *task.Snapshot {
	f := task.FSxVolume{FileSystemID: "fs-1", RootDirectory: `/share/orders/`, CredentialsParameter: parameter, Domain: "corp.example.com"}
	if edit != nil {
		edit(&f)
	}
	spec := &task.Spec{
		ARN: "arn:aws:ecs:eu-west-1:111122223333:task/demo/one", ExecutionCredentialsID: "exec",
		Volumes:    []task.Volume{{Name: "orders", Type: task.VolumeFSx, FSx: &f}},
		Containers: []task.Container{{Name: "web", MountPoints: []task.MountPoint{{SourceVolume: "orders", ContainerPath: `C:\orders`}}}, {Name: "side"}},
	}
	st := task.NewState(spec, task.Running, time.Now())
	return st.Snapshot(spec)
}

// TestVolume: a letter that is free leads to the share, with an account of either service, and
// is given back.
func TestVolume(t *testing.T) {
	for _, where := range []string{parameter, other} {
		h, s := newHook(t)
		snap := snapshot(func(f *task.FSxVolume) { f.CredentialsParameter = where })
		needs, err := h.Needs(snap.Spec)
		if err != nil || len(needs) != 1 || needs[0].Name != "orders" || strings.Join(needs[0].Containers, " ") != "web" || !needs[0].NeedsRole {
			t.Fatalf("%+v %v", needs, err)
		}
		got, err := h.Provision(t.Context(), snap, &needs[0])
		if err != nil || got.Shared.VolumeSources["orders"] != `Y:\` || got.Data["drive"] != "Y:" {
			t.Fatalf("%+v %v", got.Data, err)
		}
		if s.drives["Y:"] != share || s.login.User != `corp.example.com\svc` || s.login.Password.Reveal() != "pass word" {
			t.Errorf("%v %q", s.drives, s.login.User)
		}
		if another, err := h.Provision(t.Context(), snap, &needs[0]); err != nil || another.Data["drive"] != "X:" {
			t.Errorf("a second task: %v %v", another.Data, err)
		}
		// After a start of the agent the letter stays.
		snap.Resources = []task.Resource{{Kind: "fsxwindowsfileserver", Name: "orders"}}
		snap.State.Resources = []task.ResourceState{{Data: got.Data}}
		if again, err := h.Provision(t.Context(), snap, &needs[0]); err != nil || again.Data["drive"] != "Y:" {
			t.Errorf("again: %v %v", again.Data, err)
		}
		for range 2 {
			if err := h.CleanUp(t.Context(), snap, &needs[0], got.Data); err != nil || s.drives["Y:"] != "" {
				t.Errorf("%v %v", s.drives, err)
			}
		}
	}
}

// answers play FSx: they answer in turn, "status body", and the last one stays; "slow" answers
// nothing.
type answers struct {
	list  []string
	calls int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := a.list[min(a.calls, len(a.list)-1)]
	a.calls++
	if answer == "slow" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status, body, _ := strings.Cut(answer, " ")
	code, err := strconv.Atoi(status)
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, err
}

// TestFaults: what FSx says when it does not say where a file system is. What passes is waited
// for; of what does not, the task tells, and no letter is taken.
func TestFaults(t *testing.T) {
	const found = `200 {"FileSystems":[{"FileSystemId":"fs-1","DNSName":"amznfsx1.corp.example.com"}]}`
	refused := func(code string) string { return `400 {"__type":"` + code + `","message":"said FSx"}` }
	for _, tt := range []struct {
		name    string
		answers []string
		want    string // empty: the volume is there
		calls   int
	}{
		{"denied", []string{refused("AccessDeniedException")}, "call fsx DescribeFileSystems: AccessDeniedException: said FSx", 1},
		{"throttled, then right", []string{refused("ThrottlingException"), "500 {}", found}, "", 3},
		{"throttled for ever", []string{refused("ThrottlingException")}, "ThrottlingException: said FSx", attempts},
		{"slow, then right", []string{"slow", found}, "", 2},
		{"slow for ever", []string{"slow"}, "call fsx DescribeFileSystems: ", attempts},
		{"deleted, or in another region", []string{refused("FileSystemNotFound")}, "FileSystemNotFound: said FSx", 1},
		{"malformed", []string{"200 <html>"}, "call fsx DescribeFileSystems: ", 1},
		{"of another file system", []string{`200 {"FileSystems":[]}`}, "FSx does not know file system fs-1 in eu-west-1", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, fsx := newStand(), &answers{list: tt.answers}
				h := s.hook(&http.Client{Transport: fsx}, "http://fsx")
				got, err := h.Provision(t.Context(), snapshot(nil), &task.Resource{Name: "orders"})
				if tt.want == "" && (err != nil || got.Data["drive"] != "Y:") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || len(s.drives) > 0) {
					t.Errorf("%v, drives %v: %v, want %q", got.Data, s.drives, err, tt.want)
				}
				if fsx.calls != tt.calls {
					t.Errorf("%d calls, want %d", fsx.calls, tt.calls)
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	for want, edit := range map[string]func(*stand, *task.FSxVolume){
		"access is denied": func(s *stand, _ *task.FSxVolume) { s.mapping = errors.New("access is denied") },
		"FSx does not know file system fs-1 in eu-west-1":    func(s *stand, _ *task.FSxVolume) { s.name = "" },
		parameter + ": want JSON with username and password": func(s *stand, _ *task.FSxVolume) { s.value = "pass word" },
		"every drive letter from D: to Z: is used": func(s *stand, _ *task.FSxVolume) {
			for c := 'D'; c <= 'Y'; c++ {
				s.drives[string(c)+":"] = "x"
			}
		},
	} {
		h, s := newHook(t)
		snap := snapshot(func(f *task.FSxVolume) { edit(s, f) })
		_, err := h.Provision(t.Context(), snap, &task.Resource{Name: "orders"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "fsxwindowsfileserver resource: volume orders: ") || strings.Contains(err.Error(), "pass word") {
			t.Errorf("%v; want %q", err, want)
		}
	}
	for want, edit := range map[string]func(*task.FSxVolume){
		"fileSystemId: empty":       func(f *task.FSxVolume) { f.FileSystemID = "" },
		"domain: empty":             func(f *task.FSxVolume) { f.Domain = "" },
		`credentialsParameter: "x"`: func(f *task.FSxVolume) { f.CredentialsParameter = "x" },
		`rootDirectory: "a|b"`:      func(f *task.FSxVolume) { f.RootDirectory = "a|b" },
	} {
		h, _ := newHook(t)
		if _, err := h.Needs(snapshot(edit).Spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if got := shareOf("h", ""); got != `\\h\share` {
		t.Error(got)
	}
}
