package e2e

import (
	"testing"
)

// memory is a container that wants so many MiB of the host.
func (s *scripted) hungry(id string, status string, mib int) M {
	c := wireSleeper("app")
	c["memory"] = mib
	return s.task(id, status, c)
}

// A10 and A11: a task that finds no room waits, those behind it wait too, and a stop
// takes it out of the queue without a word to the engine.
func TestTasksWaitForRoom(t *testing.T) {
	s := script(t)
	call, err := s.AwaitCall(s.ctx, "RegisterContainerInstance")
	if err != nil {
		t.Fatal(err)
	}
	registered := decode[struct {
		TotalResources []struct {
			Name         string
			IntegerValue int
		}
	}](t, call.Body)
	total := 0
	for _, r := range registered.TotalResources {
		if r.Name == "MEMORY" {
			total = r.IntegerValue
		}
	}
	if total == 0 {
		t.Fatalf("no memory was registered: %s", call.Body)
	}
	first, second, third := "first"+randomHex(), "second"+randomHex(), "third"+randomHex()
	s.send("first", s.NextSeq(), s.hungry(first, "RUNNING", total*2/3))
	s.change(first, "RUNNING")
	s.send("second", s.NextSeq(), s.hungry(second, "RUNNING", total*2/3))
	s.ack("second")
	s.send("third", s.NextSeq(), s.hungry(third, "RUNNING", total*2/3))
	s.ack("third")
	// The second is taken out of the queue; the third comes in when the first ends.
	s.send("stop second", s.NextSeq(), s.hungry(second, "STOPPED", total*2/3))
	c := s.change(second, "STOPPED")
	if len(c.Containers) != 1 || c.Containers[0].RuntimeID != "" {
		t.Errorf("want one stopped container without a runtime id: %s", pretty(c))
	}
	equal(t, "containers of the second", s.count(second), 0)
	equal(t, "containers of the third while the first runs", s.count(third), 0)
	s.send("stop first", s.NextSeq(), s.hungry(first, "STOPPED", total*2/3))
	s.change(third, "RUNNING")
	s.send("stop third", s.NextSeq(), s.hungry(third, "STOPPED", total*2/3))
	s.change(third, "STOPPED")
}

func TestRestartPolicy(t *testing.T) {
	s := script(t)
	id := "restart" + randomHex()
	c := wireSleeper("app")
	// The first run lasts longer than the period and is repeated, the second does not.
	c["command"] = []string{"sh", "-c", "if [ -e /tmp/second ]; then exit 4; fi; touch /tmp/second; sleep 11; exit 3"}
	c["restartPolicy"] = M{"enabled": true, "restartAttemptPeriod": 10}
	s.send("run", s.NextSeq(), s.task(id, "RUNNING", c))
	s.change(id, "RUNNING")
	end := s.change(id, "STOPPED")
	if len(end.Containers) == 0 || end.Containers[len(end.Containers)-1].ExitCode == nil || *end.Containers[len(end.Containers)-1].ExitCode != 4 {
		t.Errorf("want exit code 4, of the second run: %s", pretty(end))
	}
	equal(t, "containers", s.count(id), 1)
}
