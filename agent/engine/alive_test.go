package engine

import (
	"context"
	"errors"
	"testing"
	"time"
)

// hangMessage keeps an actor from everything else.
type hangMessage struct{ until <-chan struct{} }

func (m hangMessage) handle(*actor) { <-m.until }

func TestAlive(t *testing.T) {
	if err := (&Engine{started: make(chan struct{})}).Alive(t.Context()); !errors.Is(err, errNotRunning) {
		t.Errorf("before Run: %v", err)
	}
	in(t, nil, func(r *rig) {
		alive := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return r.Alive(ctx)
		}
		if err := alive(); err != nil {
			t.Errorf("without tasks: %v", err)
		}
		spec := specOf("one", "app")
		r.run(spec)
		if err := alive(); err != nil {
			t.Errorf("with a task: %v", err)
		}
		until := make(chan struct{})
		r.actor(spec.ARN).box.put(hangMessage{until})
		if err := alive(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a task hangs: %v", err)
		}
		close(until)
		if err := alive(); err != nil {
			t.Errorf("it works again: %v", err)
		}
	})
}
