package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/registry"
)

// misbehaving pushes an image that no other test uses and lets its repository suffer.
func (e *env) misbehaving(f registry.Fault) (ref, repository string) {
	e.t.Helper()
	repository = "bad-" + e.Cluster
	ref, _, err := push(e.ctx, repository+":1", v1.Config{Cmd: []string{"true"}, Labels: map[string]string{"of": e.Cluster}})
	if err != nil {
		e.t.Fatal(err)
	}
	shared.registry.Set(repository, f)
	return ref, repository
}

func TestImageThatDoesNotExist(t *testing.T) {
	e := start(t)
	task := e.stopped(e.launch(definition(sleeper("app", M{"image": shared.registry.Host() + "/no/such:1"}))))
	contains(t, "reason", task.Container("app").Reason, "CannotPullImageManifestError: ")
	equal(t, "exit code", exitCode(task.Container("app")), "none")
	equal(t, "stop code", task.StopCode, "TaskFailedToStart")
	e.alive()
}

func TestRegistryRefuses(t *testing.T) {
	for name, f := range map[string]struct {
		fault registry.Fault
		name  string
	}{
		"401":        {registry.Fault{Status: http.StatusUnauthorized}, "CannotPullImageManifestError: "},
		"404":        {registry.Fault{Status: http.StatusNotFound}, "CannotPullImageManifestError: "},
		"500":        {registry.Fault{Status: http.StatusInternalServerError}, "CannotPullImageManifestError: "},
		"layers 404": {registry.Fault{Status: http.StatusNotFound, Blobs: true}, "CannotPullContainerError: "},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			ref, _ := e.misbehaving(f.fault)
			good := e.running(definition(sleeper("good")))
			task := e.stopped(e.launch(definition(sleeper("app", M{"image": ref}))))
			contains(t, "reason", task.Container("app").Reason, f.name)
			if now, err := e.ECS.Describe(e.ctx, good.TaskARN); err != nil || now.LastStatus != "RUNNING" {
				t.Errorf("the other task is %s, %v", now.LastStatus, err)
			}
			e.stop(good.TaskARN)
		})
	}
}

func TestRegistryRecovers(t *testing.T) {
	e := start(t)
	ref, _ := e.misbehaving(registry.Fault{Status: http.StatusServiceUnavailable, Times: 2})
	task := e.running(definition(sleeper("app", M{"image": ref})))
	e.stop(task.TaskARN)
}

// A stop must not wait for a registry that stalls (docs/spec/02 section 6.5).
func TestStopWhileTheRegistryStalls(t *testing.T) {
	e := start(t)
	ref, repository := e.misbehaving(registry.Fault{Stall: true})
	arn := e.launch(definition(sleeper("app", M{"image": ref})))
	e.eventually(20*time.Second, "the engine to ask the registry", func() (bool, error) {
		for _, r := range shared.registry.Requests(repository) {
			if (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.HasSuffix(r.Path, "/manifests/1") {
				return true, nil
			}
		}
		return false, nil
	})
	begin := time.Now()
	task := e.stop(arn)
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("the stop took %v", d)
	}
	equal(t, "reason", task.Container("app").Reason, "")
	equal(t, "exit code", exitCode(task.Container("app")), "none")
}

func TestRegistryStalls(t *testing.T) {
	e := start(t, "ECS_MANIFEST_PULL_TIMEOUT=30s", "ECS_IMAGE_PULL_TIMEOUT=10s")
	ref, _ := e.misbehaving(registry.Fault{Stall: true})
	task := e.stopped(e.launch(definition(sleeper("app", M{"image": ref}))))
	contains(t, "reason", task.Container("app").Reason, "Error: ", "timed out")
	e.alive()
}

func TestRegistryDiesInTheMiddleOfAPull(t *testing.T) {
	e := start(t)
	server, err := registry.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	img, err := bigImage(e.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := server.Push(e.ctx, "big:1", img)
	if err != nil {
		t.Fatal(err)
	}
	server.Set("big", registry.Fault{Blobs: true, Rate: 64 << 10})
	arn := e.launch(definition(sleeper("app", M{"image": ref})))
	e.eventually(30*time.Second, "a layer to be fetched", func() (bool, error) {
		for _, r := range server.Requests("big") {
			if r.Method == http.MethodGet && strings.Contains(r.Path, "/blobs/") {
				return true, nil
			}
		}
		return false, nil
	})
	server.Kill()
	task := e.stopped(arn)
	contains(t, "reason", task.Container("app").Reason, "CannotPullContainerError: ")
	if task.PullStartedAt.IsZero() {
		t.Error("no time for the start of the pull")
	}
	e.alive()
}

// A pull that fails does not matter when the image is cached (default behaviour).
func TestCachedImageRunsWithoutItsRegistry(t *testing.T) {
	e := start(t)
	ref, repository := e.misbehaving(registry.Fault{})
	e.stop(e.running(definition(sleeper("app", M{"image": ref}))).TaskARN)
	shared.registry.Set(repository, registry.Fault{Status: http.StatusInternalServerError})
	task := e.running(definition(sleeper("app", M{"image": ref})))
	e.stop(task.TaskARN)
}

func TestPreferCachedAsksNoRegistry(t *testing.T) {
	e := start(t, "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached")
	ref, repository := e.misbehaving(registry.Fault{})
	e.stop(e.running(definition(sleeper("app", M{"image": ref}))).TaskARN)
	before := len(shared.registry.Requests(repository))
	e.stop(e.running(definition(sleeper("app", M{"image": ref}))).TaskARN)
	equal(t, "requests to the registry", len(shared.registry.Requests(repository)), before)
}
