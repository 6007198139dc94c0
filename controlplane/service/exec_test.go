package service

import (
	"errors"
	"strings"
	"testing"

	"ecsagent/controlplane/api"
)

// noSessions opens none.
type noSessions struct{}

func (noSessions) Open(string, string, string) (id, token, path string) { return "", "", "" }

func TestExecTarget(t *testing.T) {
	running := api.Container{Name: "app", LastStatus: api.StatusRunning, ManagedAgents: []api.ManagedAgent{{Name: api.ExecuteCommandAgent, LastStatus: api.StatusRunning}}}
	pending := running
	pending.Name, pending.ManagedAgents = "pending", []api.ManagedAgent{{Name: api.ExecuteCommandAgent, LastStatus: api.StatusPending}}
	plain := api.Container{Name: "plain", LastStatus: api.StatusRunning}
	ended := running
	ended.Name, ended.LastStatus = "ended", api.StatusStopped
	all := []api.Container{running, pending, plain, ended}
	for _, tt := range []struct {
		containers []api.Container
		name, want string
	}{
		{all, "app", ""},
		{all[:1], "", ""},
		{all, "", "can not be blank"},
		{all, "other", "was not found"},
		{all, "pending", "was not enabled"},
		{all, "plain", "was not enabled"},
		{all, "ended", "was not enabled"},
	} {
		c, err := execTarget(&api.Task{Containers: tt.containers}, tt.name)
		if tt.want == "" {
			if err != nil || c.Name != "app" {
				t.Errorf("%q: %+v, %v", tt.name, c, err)
			}
			continue
		}
		var refused *api.Error
		if err == nil || !strings.Contains(err.Error(), tt.want) || !asError(err, &refused) || refused.Code != api.InvalidParameterException {
			t.Errorf("%q: %v", tt.name, err)
		}
	}
}

func asError(err error, into **api.Error) bool { return errors.As(err, into) }

func TestExecuteCommandRefusals(t *testing.T) {
	s, err := New(Options{Sessions: noSessions{}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	none, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	for _, tt := range []struct {
		s    *Service
		in   api.ExecuteCommandRequest
		code string
	}{
		{s, api.ExecuteCommandRequest{Command: "sh", Interactive: true}, api.InvalidParameterException},
		{s, api.ExecuteCommandRequest{Task: "x", Interactive: true}, api.InvalidParameterException},
		{s, api.ExecuteCommandRequest{Task: "x", Command: "sh"}, api.InvalidParameterException},
		{s, api.ExecuteCommandRequest{Task: "x", Command: "sh", Interactive: true}, api.ClusterNotFoundException},
		{none, api.ExecuteCommandRequest{Task: "x", Command: "sh", Interactive: true}, api.UnsupportedFeatureException},
	} {
		_, err := tt.s.executeCommand(&call{host: "127.0.0.1:1"}, &tt.in)
		var refused *api.Error
		if !asError(err, &refused) || refused.Code != tt.code {
			t.Errorf("%+v: %v, want %s", tt.in, err, tt.code)
		}
	}
}
