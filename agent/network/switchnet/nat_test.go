package switchnet

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ecsagent/agent/runtime"
)

type program func(id string, c runtime.Command) (runtime.Outcome, error)

func (p program) RunIn(_ context.Context, id string, c runtime.Command) (runtime.Outcome, error) {
	return p(id, c)
}

func TestRouteToAgent(t *testing.T) {
	var ran string
	answer, failed := runtime.Outcome{}, error(nil)
	in := program(func(id string, c runtime.Command) (runtime.Outcome, error) {
		ran = id + " " + c.User + " " + strings.Join(c.Args, " ")
		return answer, failed
	})
	nat := runtime.Network{IPv4: "172.30.16.9", Gateway: "172.30.16.1"}
	if err := RouteToAgent(t.Context(), in, "c1", nat); err != nil || ran != "c1 ContainerAdministrator route ADD 169.254.170.2 MASK 255.255.255.255 172.30.16.1" {
		t.Errorf("%q %v", ran, err)
	}
	answer = runtime.Outcome{ExitCode: 1, Output: "The route addition failed:\r\n  denied"}
	if err := RouteToAgent(t.Context(), in, "c1", nat); err == nil || !strings.HasSuffix(err.Error(), "ended with 1: The route addition failed: denied") {
		t.Error(err)
	}
	failed = errors.New("no such program")
	if err := RouteToAgent(t.Context(), in, "c1", nat); !errors.Is(err, failed) {
		t.Error(err)
	}
	if ran = ""; RouteToAgent(t.Context(), in, "c1", runtime.Network{}) == nil || ran != "" {
		t.Errorf("without a gateway: %q", ran)
	}
}
