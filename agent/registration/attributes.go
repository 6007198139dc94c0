package registration

import (
	"fmt"
	"sort"

	"go.uber.org/zap"

	"ecsagent/agent/ecsapi"
)

// customAttributes are sorted by name, so that equal settings make equal requests.
func customAttributes(custom map[string]string) []ecsapi.Attribute {
	var out []ecsapi.Attribute
	for name, value := range custom {
		out = append(out, ecsapi.Attribute{Name: name, Value: value})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// reconcile compares what was sent with what the service keeps. An attribute that
// the user set must be there, because placement depends on it; for one of the
// agent's own a log is enough (docs/spec/03 chapter 8, 20).
func reconcile(o Options, r Request, sent, kept []ecsapi.Attribute) error {
	values := make(map[string]string, len(kept))
	for _, a := range kept {
		values[a.Name] = a.Value
	}
	var lost, lostCustom []string
	for _, a := range sent {
		value, present := values[a.Name]
		if present && value == a.Value {
			continue
		}
		_, custom := r.Custom[a.Name]
		switch {
		case custom && r.InstanceARN == "":
			lostCustom = append(lostCustom, a.Name)
		default:
			lost = append(lost, a.Name)
		}
	}
	if len(lost) > 0 {
		o.Log.Warn("attributes not kept by the service, tasks that need them will not be placed here", zap.Strings("attributes", lost))
	}
	if len(lostCustom) > 0 {
		return fmt.Errorf("the service did not keep the custom attributes %q", lostCustom)
	}
	return nil
}
