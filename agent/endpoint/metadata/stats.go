package metadata

import (
	"net/http"

	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/task"

	"ecsagent/agent/endpoint/gate"
)

// nothing is the body of a container without a sample: null, or {} in version 4.
func nothing(v version) any {
	if v == v4 {
		return struct{}{}
	}
	return nil
}

// statsOfContainer is the body of one container; false when it is not measured and
// will not be: version 4 has an empty object for every container of a live task.
func (h *Handler) statsOfContainer(s *task.Snapshot, i int, v version) (any, bool) {
	st := &s.State.Containers[i]
	var latest, older any
	tracked := false
	if h.o.Stats != nil {
		latest, older, tracked = h.o.Stats.Stats(st.RuntimeID)
	}
	switch {
	case tracked && v == v4 && latest != nil:
		return latest, true
	case tracked && v != v4 && older != nil:
		return older, true
	case tracked, st.Known.IsRunning() && h.o.Stats != nil, directory.Starting(st):
		return nothing(v), true
	default:
		return nothing(v), v == v4 && s.State.Known != task.Stopped
	}
}

// statsOf is the map of a task's containers that Docker has.
func (h *Handler) statsOf(s *task.Snapshot, v version) map[string]any {
	all := make(map[string]any, len(s.State.Containers))
	for i := range s.State.Containers {
		if id := s.State.Containers[i].RuntimeID; id != "" {
			all[id], _ = h.statsOfContainer(s, i, v)
		}
	}
	return all
}

func (h *Handler) stats(q *request) {
	m, s := h.find(q)
	if m == nil {
		q.unknown(http.StatusBadRequest, "container stats", "task arn")
		return
	}
	body, ok := h.statsOfContainer(s, m.Index, q.v)
	if !ok {
		status := http.StatusBadRequest
		if q.v == v4 {
			status = http.StatusInternalServerError
		}
		q.fail(status, "Unable to get container stats for: "+s.State.Containers[m.Index].RuntimeID)
		return
	}
	gate.Encode(q.ResponseWriter, http.StatusOK, body)
}

func (h *Handler) taskStats(q *request) {
	m, s := h.find(q)
	if m == nil {
		q.unknown(http.StatusBadRequest, "task stats", "task arn")
		return
	}
	gate.Encode(q.ResponseWriter, http.StatusOK, h.statsOf(s, q.v))
}
