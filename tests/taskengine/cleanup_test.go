package taskengine

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"
	dockerclient "github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	agentimage "ecsagent/agent/image"
	"ecsagent/agent/runtime"
	agentdocker "ecsagent/agent/runtime/docker"
)

// host is an engine with what others left on it.
type host struct {
	t      *testing.T
	docker *dockerclient.Client
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// image brings an image of its own to the host.
func (h *host) image(name string) (ref string) {
	h.t.Helper()
	ref, _, err := push(h.t.Context(), "left/"+name, v1.Config{Env: []string{"PATH=/bin", "NAME=" + name}, Cmd: []string{"true"}})
	h.check(err)
	body, err := h.docker.ImagePull(h.t.Context(), ref, dockerimage.PullOptions{})
	h.check(err)
	_, err = io.Copy(io.Discard, body)
	h.check(err)
	h.check(body.Close())
	return ref
}

// container makes a container and lets it run; command says how long.
func (h *host) container(name, ref string, labels map[string]string, command ...string) {
	h.t.Helper()
	made, err := h.docker.ContainerCreate(h.t.Context(), &container.Config{Image: ref, Cmd: command, Labels: labels}, nil, nil, nil, name)
	h.check(err)
	h.check(h.docker.ContainerStart(h.t.Context(), made.ID, container.StartOptions{}))
	if command[0] != "true" {
		return
	}
	ended, errs := h.docker.ContainerWait(h.t.Context(), made.ID, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case err := <-errs:
		h.t.Fatal(err)
	}
}

// has lists what is on the host, sorted: the images and the containers.
func (h *host) has() string {
	h.t.Helper()
	var names []string
	images, err := h.docker.ImageList(h.t.Context(), dockerimage.ListOptions{})
	h.check(err)
	for i := range images {
		for _, tag := range images[i].RepoTags {
			_, name, _ := strings.Cut(tag, "left/")
			names = append(names, "image "+strings.TrimSuffix(name, ":1"))
		}
	}
	containers, err := h.docker.ContainerList(h.t.Context(), container.ListOptions{All: true})
	h.check(err)
	for i := range containers {
		names = append(names, "container "+strings.TrimPrefix(containers[i].Names[0], "/"))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// labelled are the tasks of an agent: they own what carries their label.
type labelled struct{}

func (labelled) Images() (refs, ids []string)   { return nil, nil }
func (labelled) Owns(c *runtime.Container) bool { return c.Labels[runtime.LabelTaskARN] != "" }

// Where the operator wants it, containers and images that are no task's go as well:
// those that nobody uses, nothing that runs, is excluded or is young, and so many at a
// time (docs/spec/02 section 5.6).
func TestOthersAreCleanedUp(t *testing.T) {
	d := startDockerd(t)
	raw, err := dockerclient.NewClientWithOpts(dockerclient.WithHost(d.Host), dockerclient.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	h := &host{t, raw}
	excluded := h.image("excluded:1")
	h.image("spare1:1")
	h.image("spare2:1")
	h.container("ended", h.image("ended:1"), nil, "true")
	h.container("runs", h.image("runs:1"), nil, "sleep", "3600")
	h.container("task", h.image("task:1"), map[string]string{runtime.LabelTaskARN: "arn"}, "true")
	all := h.has()

	docker, err := agentdocker.New(t.Context(), agentdocker.Options{Host: d.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	puller := agentimage.New(agentimage.Options{Engine: docker})
	defer puller.Close()
	now := time.Now()
	cleaner := agentimage.NewCleaner(agentimage.CleanerOptions{
		Engine: docker, Accounts: agentimage.NewAccounts(nil), Puller: puller, Tasks: labelled{},
		Untracked: true, PerCycle: 2, Exclude: []string{excluded}, Now: func() time.Time { return now },
	})
	cycle := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := cleaner.Cycle(ctx); err != nil {
			t.Fatal(err)
		}
		if got := h.has(); got != want {
			t.Errorf("there is\n%s, want\n%s", got, want)
		}
	}
	cycle(all) // all of it is young
	now = now.Add(4 * time.Hour)
	if err := cleaner.Cycle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.has(); strings.Contains(got, "container ended") || strings.Count(got, "image ") != 4 {
		t.Errorf("after one cycle there is %s, want no container ended, and two images less", got)
	}
	want := "container runs, container task, image excluded, image runs, image task"
	cycle(want)
	cycle(want)
}
