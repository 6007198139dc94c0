package metadata

import (
	"encoding/json"
	"sync/atomic"

	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/task"
)

// memo holds the encoded answers of one picture of a task, each made when it is first
// asked for.
type memo struct {
	snap     *task.Snapshot
	instance *Instance
	bodies   []atomic.Pointer[[]byte] // by version, and then the task before its containers
}

// wholeTask stands for the task where a container's index could.
const wholeTask = -1

// encoded returns the body of a task, or of one of its containers.
func (h *Handler) encoded(t *directory.Task, s *task.Snapshot, v version, container int) ([]byte, error) {
	in := h.o.Instance()
	var m *memo
	if kept := t.Memo.Load(); kept != nil {
		m, _ = (*kept).(*memo)
	}
	if m == nil || m.snap != s || m.instance != in {
		m = &memo{snap: s, instance: in, bodies: make([]atomic.Pointer[[]byte], 3*(1+len(s.State.Containers)))}
		var kept any = m
		t.Memo.Store(&kept)
	}
	slot := &m.bodies[int(v-v2)*(1+len(s.State.Containers))+1+container]
	if body := slot.Load(); body != nil {
		return *body, nil
	}
	body, err := json.Marshal(rendered(s, in, v, container))
	if err != nil {
		return nil, err
	}
	slot.Store(&body)
	return body, nil
}

func rendered(s *task.Snapshot, in *Instance, v version, container int) any {
	switch {
	case v == v4 && container == wholeTask:
		return renderTaskV4(s, in)
	case v == v4:
		return renderContainerV4(s, container)
	case container == wholeTask:
		return renderTaskV3(s, in, v)
	default:
		return renderContainerV3(s, container, v)
	}
}
