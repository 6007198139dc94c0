package docker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ecsagent/agent/runtime"
)

// A further program in a container: how it is started, seen, listed, and how its end is
// heard of.
func TestEngineExec(t *testing.T) {
	c := engine(t)
	ref := tools(t, c)
	ctx := contextOf(t)
	events := make(chan runtime.Event, 16)
	watching, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.WatchExecs(watching, func(ev runtime.Event) { events <- ev }) }()
	defer func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()

	req := containerRequest(t, ref, "sh", "-c", "sleep 3600 & while :; do wait; done")
	id, err := c.Create(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Remove(contextOf(t), id) })
	if _, err := c.CreateExec(ctx, id, "0", []string{"true"}); !errors.Is(err, runtime.ErrConflict) || !strings.HasPrefix(err.Error(), "CannotCreateContainerExecError: ") {
		t.Errorf("exec in a container that does not run: %v", err)
	}
	if err := c.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	exec, err := c.CreateExec(ctx, id, "0", []string{"sh", "-c", "mkfifo /end; read x </end; exit 5"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StartExec(ctx, exec); err != nil {
		t.Fatal(err)
	}
	seen, err := c.InspectExec(ctx, exec)
	if err != nil || !seen.Running || seen.PID == 0 || seen.ExitCode != nil {
		t.Fatalf("exec %+v: %v", seen, err)
	}
	list, err := c.Processes(ctx, id)
	if err != nil || !slices.ContainsFunc(list, func(p runtime.Process) bool { return p.PID == seen.PID && p.Command[0] == "sh" }) {
		t.Errorf("processes %+v: %v", list, err)
	}
	if missing, err := c.CreateExec(ctx, id, "0", []string{"/no/such"}); err != nil {
		t.Errorf("prepare a program that does not exist: %v", err)
	} else if err := c.StartExec(ctx, missing); err == nil {
		if seen, err := c.InspectExec(ctx, missing); err != nil || seen.Running {
			t.Errorf("a program that does not exist runs: %+v, %v", seen, err)
		}
	}
	end, err := c.CreateExec(ctx, id, "0", []string{"sh", "-c", "while ! [ -p /end ]; do sleep 0.1; done; echo x >/end"})
	if err == nil {
		err = c.StartExec(ctx, end)
	}
	if err != nil {
		t.Fatal(err)
	}
	for limit := time.After(time.Minute); ; {
		select {
		case ev := <-events:
			if ev.ExecID != exec {
				continue
			}
			if ev.Type != runtime.EventExecDie || ev.ExitCode == nil || *ev.ExitCode != 5 || ev.ID != id || ev.Labels[runtime.LabelContainerName] != "a" {
				t.Errorf("event %+v", ev)
			}
		case <-limit:
			t.Fatal("the end of the program was not heard of")
		}
		break
	}
	if seen, err := c.InspectExec(ctx, exec); err != nil || seen.Running || seen.ExitCode == nil || *seen.ExitCode != 5 {
		t.Errorf("after its end %+v: %v", seen, err)
	}
	if err := c.StartExec(ctx, exec); err == nil || !strings.HasPrefix(err.Error(), "CannotStartContainerExecError: ") {
		t.Errorf("a second start: %v", err)
	}
	if _, err := c.InspectExec(ctx, "0000"); !errors.Is(err, runtime.ErrNotFound) || !strings.HasPrefix(err.Error(), "CannotInspectContainerExecError: ") {
		t.Errorf("an exec that does not exist: %v", err)
	}
}
