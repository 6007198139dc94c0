package dockerspec

import (
	"slices"
	"testing"

	"ecsagent/agent/task"
)

// TestCredentialSpec: the option that Docker knows takes the place of the ones that ECS
// renders, and the others stay; so does the isolation mode, which Docker judges.
func TestCredentialSpec(t *testing.T) {
	const host = `{"Isolation":"hyperv","SecurityOpt":["credentialspec:arn:aws:s3:::b/x.json","label:x","credentialspecdomainless:file://y.json"]}`
	for given, want := range map[string][]string{
		"":                                  {"label:x"},
		"credentialspec=file://s3_1_x.json": {"label:x", "credentialspec=file://s3_1_x.json"},
	} {
		spec, st := one(task.Container{Image: "i", DockerHostConfig: host})
		env := linuxEnv()
		windows(&env)
		req, err := Build(spec, 0, st, Inputs{CredentialSpec: given}, env)
		if err != nil {
			t.Fatal(err)
		}
		if got := req.HostConfig; !slices.Equal(got.SecurityOpt, want) || got.Isolation != "hyperv" {
			t.Errorf("%q: %q, isolation %q", given, got.SecurityOpt, got.Isolation)
		}
	}
	in := Inputs{CredentialSpec: "a"}
	if in.Add(&Inputs{}); in.CredentialSpec != "a" {
		t.Error("lost")
	}
	if in.Add(&Inputs{CredentialSpec: "b"}); in.CredentialSpec != "b" {
		t.Error("not taken over")
	}
}

// TestPauseOnWindows: a pause container has no limit of CPU, and nothing of IPv6.
func TestPauseOnWindows(t *testing.T) {
	spec, st := one(task.Container{Image: "pause", Name: task.NetworkPauseName, Type: task.CNIPause})
	spec.NetworkMode = "awsvpc"
	spec.ENIs = []task.ENI{{IPv4: []task.Address{{Address: "10.30.1.25"}}, IPv6: []task.Address{{Address: "fd00::1"}}, PrivateDNSName: "ip-10-30-1-25"}}
	env := linuxEnv()
	windows(&env)
	req, err := Build(spec, 0, st, Inputs{}, env)
	if err != nil {
		t.Fatal(err)
	}
	if h := req.HostConfig; h.NetworkMode != "none" || h.CPUPercent != 0 || h.CPUShares != 0 || len(h.Sysctls) != 0 || req.Config.Hostname != "ip-10-30-1-25" {
		t.Errorf("%+v", h)
	}
}
