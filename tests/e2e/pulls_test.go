package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/proxy"
	"ecsagent/tests/registry"
)

// once is a container that ends by itself.
func once(name, image string) M {
	return M{"name": name, "image": image, "memory": 8, "essential": true, "command": []string{"true"}}
}

// fetched counts the requests for what a repository holds, by the end of their path.
func fetched(s *registry.Server, repository, kind string) map[string]int {
	count := map[string]int{}
	for _, r := range s.Requests(repository) {
		if _, what, ok := strings.Cut(r.Path, "/"+kind+"/"); ok && r.Method == http.MethodGet && what != "" {
			count[what]++
		}
	}
	return count
}

// slowImage pushes a tools image with a layer of 4 MiB that no other image has.
func slowImage(e *env) (ref, repository, layer string) {
	e.t.Helper()
	repository = "slow-" + randomHex()
	img, err := toolsWith(repository)
	if err != nil {
		e.t.Fatal(err)
	}
	if ref, _, err = shared.registry.Push(e.ctx, repository+":1", img); err != nil {
		e.t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		e.t.Fatal(err)
	}
	digest, err := layers[len(layers)-1].Digest()
	if err != nil {
		e.t.Fatal(err)
	}
	return ref, repository, digest.String()
}

// However many tasks want an image, the registry is asked for it once.
func TestOnePullForFortyTasks(t *testing.T) {
	e := start(t)
	ref, repository, layer := slowImage(e)
	shared.registry.Set(repository, registry.Fault{Blobs: true, Rate: 2 << 20})
	arn, err := e.ECS.Register(e.ctx, definition(once("app", ref)))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for range 4 {
		tasks, failures, err := e.ECS.Run(e.ctx, arn, 10)
		if err != nil || len(failures) > 0 {
			t.Fatal(err, failures)
		}
		for _, task := range tasks {
			all = append(all, task.TaskARN)
		}
	}
	for _, arn := range all {
		equal(t, "exit code", exitCode(e.stopped(arn).Container("app")), "0")
	}
	if blobs := fetched(shared.registry, repository, "blobs"); blobs[layer] != 1 {
		t.Errorf("blobs fetched: %v", blobs)
	}
	pulls := 0
	for _, c := range e.engine.Calls() {
		if c.String() == "POST /images/create" {
			pulls++
		}
	}
	equal(t, "pulls that Docker was asked for", pulls, 1)
}

// Each pull behaviour with an image whose tag moves, and with a registry that fails
// (docs/spec/02 section 5.1).
func TestPullBehaviors(t *testing.T) {
	for behavior, want := range map[string]struct {
		moves bool   // the second task gets the image that the tag means by then
		asks  bool   // the registry is asked each time
		fails string // the reason of the third task, when the registry fails; empty: it runs
	}{
		"default":       {moves: true, asks: true},
		"always":        {moves: true, asks: true, fails: "CannotPullImageManifestError: "},
		"once":          {},
		"prefer-cached": {},
	} {
		t.Run(behavior, func(t *testing.T) {
			e := start(t, "ECS_IMAGE_PULL_BEHAVIOR="+behavior)
			repository := "behavior-" + e.Cluster
			publish := func(content string) (ref, digest string) {
				ref, digest, err := push(e.ctx, repository+":1", v1.Config{Cmd: []string{"true"}, Labels: map[string]string{"of": e.Cluster + content}})
				if err != nil {
					t.Fatal(err)
				}
				return ref, digest
			}
			run := func(ref string) (digest, reason string, asked bool) {
				t.Helper()
				before := len(shared.registry.Requests(repository))
				c := e.stopped(e.launch(definition(once("app", ref)))).Container("app")
				if (exitCode(c) == "0") != (c.Reason == "") {
					t.Errorf("exit code %s, reason %q", exitCode(c), c.Reason)
				}
				return c.ImageDigest, c.Reason, len(shared.registry.Requests(repository)) > before
			}
			ref, first := publish("first")
			digest, reason, asked := run(ref)
			if digest != first || reason != "" || !asked {
				t.Fatalf("first: %s %q, asked %v; want %s", digest, reason, asked, first)
			}
			_, second := publish("second")
			expected := first
			if want.moves {
				expected = second
			}
			digest, reason, asked = run(ref)
			if digest != expected || reason != "" || asked != want.asks {
				t.Errorf("second: %s %q, asked %v; want %s, %v", digest, reason, asked, expected, want.asks)
			}
			if behavior == "once" { // what was pulled outlives the agent
				e.Agent.Kill()
				e.restart()
			}
			shared.registry.Set(repository, registry.Fault{Status: http.StatusNotFound})
			_, reason, asked = run(ref)
			if (reason == "") != (want.fails == "") || !strings.HasPrefix(reason, want.fails) || asked != want.asks {
				t.Errorf("third: %q, asked %v; want %q, %v", reason, asked, want.fails, want.asks)
			}
		})
	}
}

// imageWait is what a task says of the image that it waits for.
func (e *env) imageWait(arn string) string {
	e.t.Helper()
	status, body, err := e.Introspect(e.ctx, "/v1/tasks/"+arn[strings.LastIndexByte(arn, '/')+1:]+"/timeline")
	if err != nil {
		e.t.Fatal(err)
	}
	if status != http.StatusOK { // not delivered yet
		return ""
	}
	for _, w := range decode[struct {
		Waits []struct{ For, Detail string }
	}](e.t, body).Waits {
		if w.For == "image" {
			return w.Detail
		}
	}
	return ""
}

func (e *env) awaitImageWait(arn string, parts ...string) {
	e.t.Helper()
	e.eventually(30*time.Second, fmt.Sprintf("the wait %q", parts), func() (bool, error) {
		got := e.imageWait(arn)
		for _, p := range parts {
			if !strings.Contains(got, p) {
				return false, nil
			}
		}
		return true, nil
	})
}

// Pulls beyond the bound queue and say where they are while the queue moves. A task
// that is stopped leaves the pull to the others that wait for it.
func TestPullsQueue(t *testing.T) {
	e := start(t, "ECS_IMAGE_PULLS_AT_ONCE=1")
	var refs, repositories, layers, tasks []string
	for i := range 3 {
		ref, repository, layer := slowImage(e)
		shared.registry.Set(repository, registry.Fault{Blobs: true, Rate: 20 << 10})
		refs, repositories, layers = append(refs, ref), append(repositories, repository), append(layers, layer)
		tasks = append(tasks, e.launch(definition(sleeper("app", M{"image": ref}))))
		if i == 0 {
			e.awaitImageWait(tasks[0], "pull of "+ref+", ", " of 2 layers, 0.", " MB")
		} else {
			e.awaitImageWait(tasks[i], fmt.Sprintf("pull of %s, %s in queue", ref, []string{"1st", "2nd"}[i-1]))
		}
	}
	other := e.launch(definition(sleeper("other", M{"image": refs[1]})))
	e.awaitImageWait(other, "1st in queue")
	// What the queue says is of the image; the task is in it once it knows the digest.
	e.eventually(30*time.Second, "the digest of the other task's image", func() (bool, error) {
		task, err := e.ECS.Describe(e.ctx, other)
		return err == nil && task.Container("other").ImageDigest != "", err
	})
	shared.registry.Set(repositories[1], registry.Fault{Blobs: true, Rate: 1 << 20})
	e.stop(tasks[0])
	e.awaitImageWait(tasks[2], "1st in queue")
	e.stop(tasks[1]) // of two that wait for the pull
	e.awaits(other, "RUNNING")
	e.awaitImageWait(tasks[2], " of 2 layers, 0.")
	e.stop(tasks[2])
	e.stop(other)
	for i, layer := range layers {
		equal(t, fmt.Sprintf("fetches of the layer of image %d", i+1), fetched(shared.registry, repositories[i], "blobs")[layer], 1)
	}
}

// Registry passwords of the configuration reach the registry and nobody else.
func TestRegistryPasswords(t *testing.T) {
	const password = "canary:pass+word"
	server, err := registry.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	server.Protect("someone", password)
	img, err := toolsWith("private")
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := server.Push(t.Context(), "team/private:1", img)
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("someone:" + password))
	for name, c := range map[string]struct {
		kind, data, reason string
	}{
		"docker":    {kind: "docker", data: fmt.Sprintf(`{"http://%s":{"username":"someone","password":%q,"email":"e"}}`, server.Host(), password)},
		"dockercfg": {kind: "dockercfg", data: fmt.Sprintf(`{"%s/team":{"auth":%q}}`, server.Host(), encoded)},
		"wrong":     {kind: "docker", data: fmt.Sprintf(`{%q:{"username":"someone","password":"no"}}`, server.Host()), reason: "unauthorized"},
		"none":      {kind: "docker", data: `{}`, reason: "no basic auth credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, "ECS_IMAGE_PULL_BEHAVIOR=always", "ECS_ENGINE_AUTH_TYPE="+c.kind, "ECS_ENGINE_AUTH_DATA="+c.data)
			task := e.stopped(e.launch(definition(once("app", ref))))
			got := task.Container("app")
			if c.reason == "" {
				equal(t, "exit code", exitCode(got), "0")
			} else {
				contains(t, "reason", got.Reason, "CannotPullImageManifestError: ", c.reason)
			}
			log, err := os.ReadFile(e.AgentLog())
			if err != nil {
				t.Fatal(err)
			}
			if text := string(log) + pretty(task); strings.Contains(text, password) || strings.Contains(text, encoded) {
				t.Error("the password shows in the log or in the task")
			}
		})
	}
}

// On a full disk, images that nobody uses go, and only they; while Docker deletes, no
// task waits, not even one that wants the image that is being deleted.
func TestDiskWatermark(t *testing.T) {
	e := start(t, "ECS_IMAGE_CLEANUP_DISK_HIGH_PERCENT=1", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s")
	old, _, _ := slowImage(e)
	young, _, _ := slowImage(e)
	third, _, _ := slowImage(e)
	here := func(ref string) bool {
		_, err := shared.docker.ImageInspect(e.ctx, ref)
		if err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	// over waits until the agent has forgotten a task.
	over := func(arn string) {
		t.Helper()
		e.eventually(30*time.Second, "the task to be cleaned up", func() (bool, error) {
			status, _, err := e.Introspect(e.ctx, "/v1/tasks/"+arn[strings.LastIndexByte(arn, '/')+1:]+"/timeline")
			return status == http.StatusNotFound, err
		})
	}
	arn := e.launch(definition(once("app", old)))
	e.stopped(arn)
	over(arn)
	deleting, release := make(chan struct{}, 10), make(chan struct{})
	e.engine.SetIntercept(func(c proxy.Call, _ http.ResponseWriter, r *http.Request) bool {
		if c.Method == http.MethodDelete && strings.HasPrefix(c.Path, "/images/") {
			deleting <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return false
	})
	second := e.running(definition(sleeper("app", M{"image": young})))
	select {
	case <-deleting:
	case <-e.ctx.Done():
		t.Fatal("the unused image is not removed")
	}
	begin := time.Now()
	same := e.running(definition(sleeper("app", M{"image": old})))
	t.Logf("a task with the image being deleted took %s to run", time.Since(begin))
	close(release)
	e.stop(same.TaskARN)
	over(same.TaskARN)
	e.running(definition(sleeper("app", M{"image": third})))
	e.eventually(90*time.Second, "the unused image to go", func() (bool, error) { return !here(old), nil })
	if !here(young) || !here(third) {
		t.Error("an image in use was removed")
	}
	equal(t, "status", e.awaits(second.TaskARN, "RUNNING").LastStatus, "RUNNING")
}
