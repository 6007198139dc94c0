package service

import (
	"testing"

	"pgregory.net/rapid"
)

func TestLife(t *testing.T) {
	var m Machine
	if r := m.Report(); r.State != StartPending || r.Accepts || r.WaitHint <= 0 {
		t.Errorf("at first: %+v", r)
	}
	if r := m.Started(); r != (Report{State: Running, Accepts: true}) {
		t.Errorf("started: %+v", r)
	}
	if r, stop := m.Control(Interrogate); stop || r != (Report{State: Running, Accepts: true}) {
		t.Errorf("interrogated: %+v %v", r, stop)
	}
	if r, stop := m.Control(Control(6)); stop || r.State != Running {
		t.Errorf("an unknown control: %+v %v", r, stop)
	}
	first, stop := m.Control(PreShutdown)
	if !stop || first.State != StopPending || first.Accepts || first.WaitHint <= Beat {
		t.Errorf("preshutdown: %+v %v", first, stop)
	}
	if r, stop := m.Control(Shutdown); stop || r != first {
		t.Errorf("shutdown after preshutdown: %+v %v", r, stop)
	}
	if r := m.Beat(); r.CheckPoint <= first.CheckPoint || r.State != StopPending {
		t.Errorf("beat: %+v after %+v", r, first)
	}
	if r, exit := m.Ended(1); exit != 0 || r != (Report{State: Stopped}) {
		t.Errorf("told to stop, ended with 1: %d %+v", exit, r)
	}
}

// TestExitCodes: the manager starts a service again that ended with an error code.
func TestExitCodes(t *testing.T) {
	for code, want := range map[int]uint32{0: 0, 1: 1, 2: 2, 5: 0, 42: 42, -1: 1} {
		var m Machine
		m.Started()
		if _, exit := m.Ended(code); exit != want {
			t.Errorf("the agent ended with %d: the service with %d, want %d", code, exit, want)
		}
	}
}

// TestAnyOrder: whatever the manager asks in whatever order, the agent is told to end at
// most once, nothing is accepted that would not be answered, and check points grow.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Machine
		last, stops := m.Report(), 0
		controls := []Control{Stop, Interrogate, Shutdown, PreShutdown, 2, 3, 6}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			var r Report
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				if last.State != StartPending {
					continue
				}
				r = m.Started()
			case 1:
				r = m.Beat()
			default:
				var stop bool
				if r, stop = m.Control(rapid.SampledFrom(controls).Draw(t, "control")); stop {
					stops++
				}
			}
			if r.Accepts != (r.State == Running) {
				t.Fatalf("%+v", r)
			}
			if r.State == last.State && r.CheckPoint < last.CheckPoint {
				t.Fatalf("%+v after %+v", r, last)
			}
			if last.State == StopPending && r.State != StopPending {
				t.Fatalf("%+v after %+v", r, last)
			}
			last = r
		}
		if stops > 1 || (last.State == StopPending) != (stops == 1) {
			t.Fatalf("told to end %d times, then %+v", stops, last)
		}
	})
}
