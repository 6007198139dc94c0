package explain

import (
	"encoding/json"
	"slices"
	"testing"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource/firelens"
)

// A task with a FireLens container: what it mounts, what the others log to, who waits.
func TestFireLens(t *testing.T) {
	raw := document("", `,"dockerConfig":{"hostConfig":"{\"LogConfig\":{\"Type\":\"awsfirelens\",\"Config\":{\"Name\":\"es\"}}}"}},`+
		`{"name":"router","image":"router:1","firelensConfiguration":{"type":"fluentbit","options":{"config-file-type":"file","config-file-value":"/extra.conf"}}`)
	s := settings("linux")
	s.Hooks = append(s.Hooks, firelens.New(firelens.Options{OS: "linux", HostDir: "/data/firelens"}))
	s.Env.FireLens = dockerspec.FireLens{Dir: "/data/firelens", Async: true}
	x := Explain(t.Context(), json.RawMessage(raw), s)
	if len(x.Reasons()) > 0 || len(x.Containers) != 2 {
		t.Fatalf("%q, %+v", x.Reasons(), x)
	}
	if !slices.Contains(x.Resources, Resource{Name: "firelens", What: "FireLens configuration"}) {
		t.Errorf("resources %+v", x.Resources)
	}
	router, app := x.Containers[0], x.Containers[1]
	if router.Name != "router" || router.Stage >= app.Stage || !slices.Contains(app.WaitsFor, Wait{Container: "router", Condition: "START"}) ||
		!slices.ContainsFunc(router.WaitsFor, func(w Wait) bool { return w.Resource == "firelens" || w.Resource == "FireLens configuration" }) {
		t.Errorf("router in stage %d waits for %+v, app in stage %d for %+v", router.Stage, router.WaitsFor, app.Stage, app.WaitsFor)
	}
	const dir = "/data/firelens/0123456789abcdef0123456789abcdef/"
	if got, want := at(t, router.Create.Body, "HostConfig.Binds"), `["`+dir+`config/fluent.conf:/fluent-bit/etc/fluent-bit.conf","`+dir+`socket/:/var/run/"]`; got != want {
		t.Errorf("binds %s, want %s", got, want)
	}
	if got, want := at(t, app.Create.Body, "HostConfig.LogConfig"), `{"Config":{"fluentd-address":"unix://`+dir+`socket/fluent.sock","fluentd-async":"true",`+
		`"fluentd-sub-second-precision":"true","tag":"a-firelens-0123456789abcdef0123456789abcdef"},"Type":"fluentd"}`; got != want {
		t.Errorf("log %s, want %s", got, want)
	}
	env, _ := app.Create.Body["Env"].([]any)
	if !slices.Contains(env, any("FLUENT_HOST=<address of router>")) || !slices.Contains(env, any("FLUENT_PORT=24224")) {
		t.Errorf("environment %v", env)
	}
}
