package app

import "testing"

// TestPathMade: the first time that tasks reach the agent, what is offered is looked at.
func TestPathMade(t *testing.T) {
	a := &agent{returned: make(chan struct{}, 1)}
	for i, want := range []int{1, 1, 0} {
		if i == 2 {
			<-a.returned
		}
		a.pathMade()
		if got := len(a.returned); got != want || !a.rolesReached.Load() {
			t.Errorf("time %d: to be looked at: %d, want %d", i, got, want)
		}
	}
}
