package engine

import (
	"context"
	"errors"
)

// errNotRunning is the answer of Alive outside of Run.
var errNotRunning = errors.New("engine does not run")

// Alive returns nil once the engine has shown that it works: its Run has begun, and
// one of its tasks' actors, another one each time as far as chance goes, has taken a
// message. It waits for that until ctx ends.
func (e *Engine) Alive(ctx context.Context) error {
	select {
	case <-e.started:
	default:
		return errNotRunning
	}
	answered := make(chan struct{})
	asked := false
	e.eachActorUntil(func(a *actor) bool {
		asked = a.box.put(aliveMessage{answered})
		return !asked // one that left has no ear: the next
	})
	if !asked {
		return e.ctx.Err()
	}
	select {
	case <-answered:
		return nil
	case <-e.ctx.Done():
		return e.ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eachActorUntil goes over the actors, in no order, while fn says so.
func (e *Engine) eachActorUntil(fn func(*actor) bool) {
	e.tasks.Range(func(_, v any) bool { return fn(v.(*actor)) })
}

// aliveMessage asks for an answer and nothing else.
type aliveMessage struct{ answered chan<- struct{} }

func (m aliveMessage) handle(*actor) { close(m.answered) }
