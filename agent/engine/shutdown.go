package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/task"
)

// errHostStops is the answer to work that comes while the host shuts down. It is not
// acknowledged, so that ECS sends it again when the host is back.
var errHostStops = errors.New("the host is shutting down")

// hostStops is the reason that ECS shows of tasks that StopAll stopped.
const hostStops = "Host is shutting down"

// stopReserve is what StopAll keeps of its time for Docker to work and ECS to be told.
const stopReserve = 2 * time.Second

// StopAll stops every task, in the order of its containers, because the host shuts down,
// and waits until ECS knows. From the call on no work is taken. The deadline of ctx
// bounds the time that containers are given, each in its turn; without one they have
// their own. The error tells how many tasks were not stopped or not reported when ctx
// ended.
func (e *Engine) StopAll(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		e.stopBy.Store(deadline.Add(-stopReserve).UnixNano())
	}
	e.closing.Store(true)
	release, err := e.serially(ctx) // what is being delivered comes first
	if err != nil {
		return err
	}
	release()
	var all []*actor
	e.eachActor(func(a *actor) {
		all = append(all, a)
		a.box.put(shutMessage{})
	})
	e.log.Info("host shuts down: every task is stopped", zap.Int("tasks", len(all)))
	running, untold := 0, 0
	for _, a := range all {
		if !waitFor(ctx, a.ended) {
			running++
		} else if !waitFor(ctx, a.told) {
			untold++
		}
	}
	if running+untold > 0 {
		return fmt.Errorf("stop tasks: %d of %d still run, %d are stopped and not reported: %w", running, len(all), untold, ctx.Err())
	}
	return nil
}

// waitFor reports false when ctx ended first.
func waitFor(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// shutMessage stops a task because the host shuts down.
type shutMessage struct{}

func (shutMessage) handle(a *actor) {
	if a.st.Desired != task.Stopped {
		a.apply(task.Fail{Reason: hostStops}, time.Now())
	}
}

// milestones tell StopAll how far a task is.
type milestones struct {
	ended, told chan struct{} // closed when it is stopped, and when ECS has accepted that
}

func newMilestones() milestones {
	return milestones{ended: make(chan struct{}), told: make(chan struct{})}
}

// reach closes the milestones that the task has come to. It is the actor's own.
func (m milestones) reach(known, sent task.Status) {
	reachIf(known == task.Stopped, m.ended)
	reachIf(sent == task.Stopped, m.told)
}

func reachIf(reached bool, done chan struct{}) {
	if !reached {
		return
	}
	select {
	case <-done:
	default:
		close(done)
	}
}

// hurried cuts a container's stop timeout to its share of the time that the host's
// shutdown leaves: containers that may only stop after it need theirs.
func (e *Engine) hurried(timeout time.Duration, snap *task.Snapshot, container int) time.Duration {
	by := e.stopBy.Load()
	if by == 0 {
		return timeout
	}
	left := time.Until(time.Unix(0, by))
	turns := stopTurns(snap, container, make(map[int]int))
	return min(timeout, max(time.Second, (left/time.Duration(turns)).Truncate(time.Second)))
}

// stopTurns is how many containers stop one after another, from this one on.
func stopTurns(snap *task.Snapshot, container int, known map[int]int) int {
	if n, ok := known[container]; ok {
		return n
	}
	known[container] = 1 // ends a circle, which intake refuses
	longest := 0
	for _, edge := range snap.Containers[container].DependsOn {
		d := snap.Index(edge.Container)
		if d >= 0 && snap.State.Containers[d].Known != task.ContainerStopped {
			longest = max(longest, stopTurns(snap, d, known))
		}
	}
	known[container] = longest + 1
	return longest + 1
}
