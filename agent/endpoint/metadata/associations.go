package metadata

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"ecsagent/agent/endpoint/gate"
)

// associations answers associations/<type> and associations/<type>/<name> (docs/spec/04
// section 3.10).
func (h *Handler) associations(q *request, rest string) {
	kind, name, named := strings.Cut(rest, "/")
	m, s := h.find(q)
	if m == nil {
		what := "container id"
		if named {
			what = "task arn"
		}
		q.fail(http.StatusBadRequest, fmt.Sprintf("V%d container associations handler: unable to get %s from request: %s", q.v, what, unresolved(what, q.id)))
		return
	}
	if named && name == "" {
		q.fail(http.StatusBadRequest, fmt.Sprintf("V%d container associations handler: unable to get association name from request", q.v))
		return
	}
	var names []string
	for i := range s.Associations {
		a := &s.Associations[i]
		mine := slices.Contains(a.Containers, s.Containers[m.Index].Name)
		if a.Type != kind || !mine && (!named || h.o.Bound) {
			continue
		}
		if named && a.Name == name {
			gate.JSON(q.ResponseWriter, http.StatusOK, []byte(a.Value))
			return
		}
		names = append(names, a.Name)
	}
	if named {
		q.fail(http.StatusBadRequest, fmt.Sprintf("Unable to write container association response: unable to get association from association type %s and association name %s", kind, name))
		return
	}
	gate.Encode(q.ResponseWriter, http.StatusOK, struct{ Associations []string }{names})
}
