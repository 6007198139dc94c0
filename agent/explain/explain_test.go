package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ecsagent/agent/image"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const arn = "arn:aws:ecs:eu-west-1:111122223333:task/demo/0123456789abcdef0123456789abcdef"

// document is a task that runs, with members of the task and of its one container.
func document(taskMembers, containerMembers string) string {
	return fmt.Sprintf(`{"arn":%q,"family":"shop","version":"3","desiredStatus":"RUNNING"%s,
		"containers":[{"name":"a","image":"shop:3","essential":true%s}]}`, arn, taskMembers, containerMembers)
}

func explained(t testing.TB, document string) Task {
	t.Helper()
	raws, err := Read([]byte(document))
	if err != nil || len(raws) != 1 {
		t.Fatalf("%d tasks, error %v", len(raws), err)
	}
	return Explain(t.Context(), raws[0], settings("linux"))
}

// What docs/spec/02 section 6.5 says that ECS sees.
func TestReasons(t *testing.T) {
	const unrunnable = "resource cannot be initialized for task " + arn + ": "
	second := func(members string) string {
		return fmt.Sprintf(`{"arn":%q,"desiredStatus":"RUNNING","containers":[{"name":"a","image":"i"%s},{"name":"b","image":"i"}]}`, arn, members)
	}
	for name, c := range map[string]struct{ document, want string }{
		"protocol":       {document("", `,"portMappings":[{"containerPort":80,"protocol":"sctp"}]`), `UnrecogniedTaskError: Error loading task - containers[0].portMappings[0].protocol is "sctp": want "tcp" or "udp"`},
		"no status":      {strings.Replace(document("", ""), "RUNNING", "DANCING", 1), `UnrecogniedTaskError: Error loading task - desiredStatus is "DANCING": want NONE, MANIFEST_PULLED, CREATED, RUNNING or STOPPED`},
		"link":           {document("", `,"links":["x"]`), unrunnable + "could not find container for link x"},
		"volumesFrom":    {document("", `,"volumesFrom":[{"sourceContainer":"x"}]`), unrunnable + "could not find volume source container with name x"},
		"autoprovision":  {document(`,"volumes":[{"name":"v","type":"docker","dockerVolumeConfiguration":{"scope":"task","autoprovision":true}}]`, ""), unrunnable + "volume [v] : task scoped volume could not be autoprovisioned"},
		"cycle":          {strings.Replace(second(`,"links":["b"]`), `"name":"b"`, `"name":"b","links":["a"]`, 1), "Task dependencies cannot be resolved, taskArn: " + arn},
		"unsupported":    {document("", `,"credentialSpecs":["x"]`), unrunnable + "credential specs are not supported by this agent"},
		"no pause image": {document(`,"pidMode":"task"`, ""), unrunnable + "pidMode task and ipcMode task need the pause image, which is not loaded on this container instance"},
		"unknown volume": {document("", `,"mountPoints":[{"sourceVolume":"v","containerPath":"/x"}]`), "HostConfigError: Invalid volume referenced: v"},
		"host config":    {document("", `,"dockerConfig":{"hostConfig":"{"}`), "HostConfigError: Unable to decode given host config: unexpected end of JSON input"},
		"health check":   {document("", `,"healthCheckType":"docker"`), "DockerClientConfigError: docker health check is nil while container health check type is DOCKER"},
		"log role":       {document("", `,"logsAuthStrategy":"ExecutionRole"`), "HostConfigError: No execution credentials set for the task"},
		"reference":      {strings.Replace(document("", ""), "shop:3", "UPPER", 1), `CannotPullImageManifestError: invalid reference format: "UPPER": invalid reference format: repository name (library/UPPER) must be lowercase`},
		"ecr role":       {document("", `,"registryAuthentication":{"type":"ecr","ecrAuthData":{"registryId":"1","region":"r","useExecutionRole":true}}`), "CannotPullECRContainerError: engine ecr credentials: not found"},
		"too long":       {document("", `,"links":["`+strings.Repeat("x", 2000)+`"]`), (unrunnable + "could not find container for link " + strings.Repeat("x", 2000))[:1024]},
	} {
		if got := explainedReasons(t, c.document); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: reasons %q, want %q", name, got, c.want)
		}
	}
}

func explainedReasons(t *testing.T, document string) []string {
	x := explained(t, document)
	var out bytes.Buffer
	if err := WriteText(&out, &x); err != nil {
		t.Fatal(err)
	}
	for _, r := range x.Reasons() {
		if !strings.Contains(out.String(), r) {
			t.Errorf("reason %q is not in\n%s", r, &out)
		}
	}
	return x.Reasons()
}

func TestForms(t *testing.T) {
	one := document("", "")
	message := `{"messageId":"m","clusterArn":"c","containerInstanceArn":"i","seqNum":4,"tasks":[` + one + `,` + one + `]}`
	for name, c := range map[string]struct {
		document string
		tasks    int
		wrong    string
	}{
		"task":          {one, 1, ""},
		"frame":         {`{"type":"PayloadMessage","message":` + message + `}`, 2, ""},
		"message":       {message, 2, ""},
		"other frame":   {`{"type":"HeartbeatMessage","message":{}}`, 0, `the frame is of type "HeartbeatMessage": want a PayloadMessage`},
		"unknown frame": {`{"type":"Odd","message":{}}`, 0, "decode Odd: unknown message type"},
		"no ids":        {`{"tasks":[]}`, 0, "decode PayloadMessage: messageId is absent: want a non-empty string"},
		"list":          {`[]`, 0, "want a JSON object"},
		"nothing":       {``, 0, "unexpected end of JSON input"},
	} {
		raws, err := Read([]byte(c.document))
		if len(raws) != c.tasks || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %d tasks, error %v; want %d, %q", name, len(raws), err, c.tasks, c.wrong)
		}
	}
}

func TestNothingIsStarted(t *testing.T) {
	for _, status := range []string{"STOPPED", "NONE"} {
		x := explained(t, strings.Replace(document("", ""), "RUNNING", status, 1))
		if x.Idle == "" || len(x.Reasons()) != 0 || len(x.Containers) != 0 {
			t.Errorf("%s: %+v", status, x)
		}
	}
}

func TestImages(t *testing.T) {
	registries, problems := image.ParseEngineAuth("docker", secret.String(`{"registry.example":{"username":"me","password":"hidden"}}`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	const pinned = "registry.example/a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		ref      string
		behavior task.PullBehavior
		calls    []string
		login    string
	}{
		{"a", task.PullDefault, []string{"ask the registry for the digest of a", "pull docker.io/library/a@<digest>", "tag docker.io/library/a@<digest> as docker.io/library/a:latest"}, ""},
		{"registry.example/a:1", task.PullPreferCached, []string{"ask the registry for the digest of registry.example/a:1", "pull registry.example/a@<digest>", "tag registry.example/a@<digest> as registry.example/a:1"}, "user me at registry.example, from ECS_ENGINE_AUTH_DATA"},
		{pinned, task.PullAlways, []string{"pull " + pinned}, "user me at registry.example, from ECS_ENGINE_AUTH_DATA"},
	} {
		s := settings("linux")
		s.Pull, s.Registries = c.behavior, registries
		x := Explain(t.Context(), json.RawMessage(strings.Replace(document("", ""), "shop:3", c.ref, 1)), s)
		got := x.Containers[0].Image
		if !slices.Equal(got.Calls, c.calls) || got.Login != c.login {
			t.Errorf("%s: calls %q, login %q", c.ref, got.Calls, got.Login)
		}
		var out bytes.Buffer
		if err := WriteText(&out, &x); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), behaviors[c.behavior]) || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s:\n%s", c.ref, &out)
		}
	}
}

// What ecs-local sends for the examples can be run.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../controlplane/local/cli/testdata/render/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d rendered examples, error %v", len(files), err)
	}
	for _, file := range files {
		x := explained(t, string(read(t, file)))
		if reasons := x.Reasons(); len(reasons) > 0 {
			t.Errorf("%s: %q", file, reasons)
		}
	}
}

// Orders of random tasks: everything comes after what it needs, and stops before it.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := &task.Spec{}
		n := rapid.IntRange(1, 8).Draw(t, "containers")
		for i := range n {
			c := task.Container{Name: fmt.Sprint("c", i)}
			for j := range i {
				if rapid.Bool().Draw(t, "depends") {
					c.DependsOn = append(c.DependsOn, task.Dependency{Container: fmt.Sprint("c", j), Condition: task.DependsStart})
				}
			}
			spec.Containers = append(spec.Containers, c)
		}
		spec.Containers = rapid.Permutation(spec.Containers).Draw(t, "order")
		starts := startStages(spec)
		e := explainer{s: settings("linux"), spec: spec}
		stops := map[string]int{}
		for at, s := range e.stopOrder() {
			stops[s.Container] = at
		}
		for i, c := range spec.Containers {
			for _, d := range c.DependsOn {
				if starts[spec.Index(d.Container)] >= starts[i] {
					t.Fatalf("%s does not start after %s: %v", c.Name, d.Container, starts)
				}
				if stops[d.Container] <= stops[c.Name] {
					t.Fatalf("%s does not stop before %s: %v", c.Name, d.Container, stops)
				}
			}
		}
	})
}

// Whatever stands in the file, there is an answer and no panic, and what can be shown
// is shown in both ways.
func FuzzExplain(f *testing.F) {
	f.Add(document("", ""))
	f.Add(document(`,"volumes":[{"name":"v"}]`, `,"mountPoints":[{"sourceVolume":"v","containerPath":"/x"}],"portMappings":[{"containerPortRange":"1-65535"}]`))
	f.Add(document("", `,"dockerConfig":{"config":"{\"Entrypoint\":[],\"StopSignal\":\"SIGINT\"}","hostConfig":"{\"PortBindings\":null,\"Init\":false}"}`))
	f.Add(`{"type":"PayloadMessage","message":{"messageId":"m","clusterArn":"c","containerInstanceArn":"i","tasks":[null,7,{}]}}`)
	f.Add(`{"arn":7}`)
	f.Fuzz(func(t *testing.T, document string) {
		raws, err := Read([]byte(document))
		if err != nil {
			return
		}
		for _, raw := range raws {
			x := Explain(t.Context(), raw, settings("windows"))
			var out bytes.Buffer
			if err := WriteText(&out, &x); err != nil {
				t.Fatal(err)
			}
			out.Reset()
			if err := WriteJSON(&out, []Task{x}); err != nil || !json.Valid(out.Bytes()) {
				t.Fatalf("error %v, JSON %q", err, &out)
			}
			if x.Reason == "" && x.Idle == "" && len(x.Containers) == 0 {
				t.Fatalf("nothing is said of %q", raw)
			}
		}
	})
}

// Members that mean something although they are empty or false.
func TestEmptyMembersThatCount(t *testing.T) {
	x := explained(t, document("", `,"entryPoint":[],"dockerConfig":{"config":"{\"StopSignal\":\"SIGINT\"}","hostConfig":"{\"Init\":false,\"MemorySwappiness\":0}"}`))
	body := plain(t, x.Containers[0].Create.Body)
	for path, want := range map[string]string{
		"Entrypoint": "[]", "HostConfig.Init": "false", "HostConfig.MemorySwappiness": "0",
		"HostConfig.Links": "", "HostConfig.PortBindings": "", "Cmd": "", "HostConfig.OomKillDisable": "", "HostConfig.ConsoleSize": "", "HostConfig.LogConfig": "",
	} {
		if got := at(t, body, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if signal := x.StopOrder[0].Signal; signal != "SIGINT" {
		t.Errorf("signal %q", signal)
	}
}
