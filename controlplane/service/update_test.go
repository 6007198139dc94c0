package service

import (
	"errors"
	"slices"
	"testing"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

func TestUpdateContainerAgent(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	ask := m{"containerInstance": host}
	wantError(t, w.try("UpdateContainerAgent", ask, nil), "NoUpdateAvailableException", "")

	// An update that cannot be read is the server's trouble.
	w.close()
	broken := true
	w.opts.Update = func() (wire.Update, error) {
		if broken {
			return wire.Update{}, errors.New("gone")
		}
		return wire.Update{Location: "http://x/update", Signature: "abcd"}, nil
	}
	w.open()
	host = w.ready()
	ask = m{"containerInstance": host}
	wantError(t, w.try("UpdateContainerAgent", ask, nil), "ServerException", "gone")
	broken = false
	wantError(t, w.try("UpdateContainerAgent", m{"containerInstance": "0123456789abcdef0123456789abcdef"}, nil), "InvalidParameterException", "")

	status := func(want string) {
		t.Helper()
		got := must[api.ContainerInstancesResponse](w, "DescribeContainerInstances", m{"containerInstances": []string{host}}).ContainerInstances[0]
		if got.AgentUpdateStatus != want {
			t.Errorf("status %q, want %q", got.AgentUpdateStatus, want)
		}
	}
	status("")
	runs := "1"
	reconnect := func(version string) {
		w.s.Connected(host, false, runs, "a", "")
		w.s.Connected(host, true, version, "a", "")
		runs = version
	}
	reconnect("1")
	for _, c := range []struct {
		version, end string
		refused      bool
	}{{"2", "UPDATED", false}, {"2", "FAILED", false}, {"", "FAILED", true}, {"3", "UPDATED", false}} {
		if got := must[api.ContainerInstanceResponse](w, "UpdateContainerAgent", ask).ContainerInstance; got.AgentUpdateStatus != "PENDING" {
			t.Errorf("%+v", got)
		}
		wantError(t, w.try("UpdateContainerAgent", ask, nil), "UpdateInProgressException", "")
		w.s.UpdateStaged(host)
		status("STAGED")
		if c.refused {
			w.s.UpdateRefused(host, "no")
		} else {
			w.s.UpdatePerforming(host)
			status("UPDATING")
			reconnect(c.version)
		}
		status(c.end)
	}
	w.link.mu.Lock()
	defer w.link.mu.Unlock()
	if want := host + " http://x/update abcd"; len(w.link.updates) != 4 || !slices.Contains(w.link.updates, want) {
		t.Errorf("%q, want four of %q", w.link.updates, want)
	}
}
