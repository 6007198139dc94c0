package app

import (
	"testing"

	"go.uber.org/zap"

	"ecsagent/agent/network"
)

func TestTestLinksAreForALocalECS(t *testing.T) {
	want := network.TestLinks{Kind: "veth", Pattern: "ecsx*"}
	for _, c := range []struct {
		setting, endpoint string
		want              network.TestLinks
	}{
		{"veth:ecsx*", "http://127.0.0.1:4566", want},
		{"veth:ecsx*", "https://localhost:4566", want},
		{"veth:ecsx*", "[::1]:4566", want},
		{"veth:ecsx*", "", network.TestLinks{}},
		{"veth:ecsx*", "https://ecs.eu-west-1.amazonaws.com", network.TestLinks{}},
		{"veth:ecsx*", "https://127.0.0.1.example.com", network.TestLinks{}},
		{"veth", "http://127.0.0.1:4566", network.TestLinks{}},
		{"", "http://127.0.0.1:4566", network.TestLinks{}},
	} {
		if got := testLinks(c.setting, c.endpoint, zap.NewNop()); got != c.want {
			t.Errorf("%q at %q: %+v", c.setting, c.endpoint, got)
		}
	}
}
