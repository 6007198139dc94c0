package docker

import (
	"errors"
	"testing"

	"ecsagent/agent/runtime"
)

func TestTakenPort(t *testing.T) {
	start := operation{name: nameCannotStart}
	for text, taken := range map[string]bool{
		"Error response from daemon: driver failed programming external connectivity on endpoint x (y): Bind for 0.0.0.0:80 failed: port is already allocated": true,
		"Error response from daemon: failed to set up container networking: failed to bind host port for 0.0.0.0:80: address already in use":                   true,
		"Error response from daemon: HNS failed with error : The specified port already exists.":                                                               true,
		"Error response from daemon: no such file": false,
	} {
		if got := errors.Is(start.kindOf(errors.New(text)), runtime.ErrPortTaken); got != taken {
			t.Errorf("%s: %v", text, got)
		}
		if (operation{name: "CannotCreateContainerError"}).kindOf(errors.New(text)) != nil {
			t.Errorf("a create has the kind of a start: %s", text)
		}
	}
}
