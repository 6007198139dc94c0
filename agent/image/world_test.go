package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"ecsagent/agent/runtime"
)

// host is an engine with its images and containers, its registry, and the tasks on it,
// as both the puller and the cleaner see them.
type host struct {
	mu         sync.Mutex
	images     map[string]*runtime.Image // by id
	names      map[string]string         // local name to id
	registry   map[string]string         // local name to id
	containers map[string]*runtime.Container
	needs      map[string]int // references that tasks need
	getting    map[string]int
	secret     bool // nobody is told of needs
	removed    []string
	errs       map[string]error // of RemoveImage
	wrong      []string         // what must not have happened
	during     func(call string)
}

func newHost() *host {
	return &host{
		images: map[string]*runtime.Image{}, names: map[string]string{}, registry: map[string]string{},
		containers: map[string]*runtime.Container{}, needs: map[string]int{}, getting: map[string]int{}, errs: map[string]error{},
	}
}

// call lets something else happen before a call takes effect.
func (h *host) call(name string) {
	if h.during != nil {
		h.during(name)
	}
	h.mu.Lock()
}

// have puts an image there under names.
func (h *host) have(id string, size int64, created time.Time, names ...string) {
	if h.images[id] == nil {
		h.images[id] = &runtime.Image{ID: id, Size: size, Created: created}
	}
	for _, n := range names {
		h.name(localName(n), id)
	}
}

func (h *host) name(local, id string) {
	if old := h.images[h.names[local]]; old != nil {
		old.Tags = slices.DeleteFunc(old.Tags, func(t string) bool { return t == local })
	}
	h.names[local] = id
	h.images[id].Tags = append(h.images[id].Tags, local)
}

func (h *host) find(ref string) *runtime.Image {
	if img := h.images[ref]; img != nil {
		return img
	}
	return h.images[h.names[localName(ref)]]
}

func (h *host) InspectImage(_ context.Context, ref string) (runtime.Image, error) {
	h.call("inspect image")
	defer h.mu.Unlock()
	img := h.find(ref)
	if img == nil {
		return runtime.Image{}, fail("x", "No such image: "+ref, runtime.ErrNotFound)
	}
	copied := *img
	copied.Tags = slices.Clone(img.Tags)
	return copied, nil
}

func (h *host) DistributionDigest(context.Context, string, *runtime.RegistryAuth) (string, error) {
	return "", nil
}

func (h *host) Pull(_ context.Context, ref string, _ *runtime.RegistryAuth, _ func(runtime.PullProgress)) error {
	local := localName(ref)
	h.call("pull")
	defer h.mu.Unlock()
	id, ok := h.registry[local]
	if !ok {
		return fail(namePull, "manifest unknown", runtime.ErrNotFound)
	}
	h.have(id, 100, cleanNow, local)
	return nil
}

func (h *host) Tag(context.Context, string, string) error { return nil }

func (h *host) ListImages(context.Context) ([]runtime.Image, error) {
	h.call("list images")
	defer h.mu.Unlock()
	var all []runtime.Image
	for _, id := range slices.Sorted(maps.Keys(h.images)) {
		img := *h.images[id]
		img.Tags = slices.Clone(img.Tags)
		all = append(all, img)
	}
	return all, nil
}

func (h *host) UsedImages(context.Context) ([]string, error) {
	h.call("list containers")
	defer h.mu.Unlock()
	return h.used(), nil
}

func (h *host) used() (ids []string) {
	for _, c := range h.containers {
		ids = append(ids, c.Image)
	}
	return ids
}

// RemoveImage removes as Docker does: a name, and the image with its last name.
func (h *host) RemoveImage(_ context.Context, ref string) error {
	h.mu.Lock()
	local := localName(ref)
	img := h.find(ref)
	if img != nil {
		if slices.Contains(h.used(), img.ID) {
			h.wrong = append(h.wrong, ref+" is removed although a container uses it")
		}
		if h.needs[local] > 0 && !h.secret || h.getting[local] > 0 {
			h.wrong = append(h.wrong, fmt.Sprintf("%s is removed although %d tasks need it and %d get it", ref, h.needs[local], h.getting[local]))
		}
	}
	h.mu.Unlock()
	h.call("remove image")
	defer h.mu.Unlock()
	if err := h.errs[ref]; err != nil {
		return err
	}
	if img = h.find(ref); img == nil {
		return fail("x", "No such image: "+ref, runtime.ErrNotFound)
	}
	if slices.Contains(h.used(), img.ID) && len(img.Tags) < 2 {
		return fail("x", "conflict: image is being used", runtime.ErrConflict)
	}
	h.removed = append(h.removed, ref)
	delete(h.names, local)
	img.Tags = slices.DeleteFunc(img.Tags, func(t string) bool { return t == local })
	if len(img.Tags) == 0 {
		delete(h.images, img.ID)
	}
	return nil
}

func (h *host) IdleContainers(context.Context) ([]runtime.Container, error) {
	h.call("list idle")
	defer h.mu.Unlock()
	var idle []runtime.Container
	for _, id := range slices.Sorted(maps.Keys(h.containers)) {
		if c := h.containers[id]; !c.Status.IsRunning() {
			idle = append(idle, runtime.Container{ID: c.ID, Name: c.Name, Labels: c.Labels, CreatedAt: c.CreatedAt, Status: c.Status})
		}
	}
	return idle, nil
}

func (h *host) Inspect(_ context.Context, id string) (runtime.Container, error) {
	h.call("inspect container")
	defer h.mu.Unlock()
	if c := h.containers[id]; c != nil {
		return *c, nil
	}
	return runtime.Container{}, fail("x", "No such container", runtime.ErrNotFound)
}

func (h *host) RemoveIdle(_ context.Context, id string) error {
	h.call("remove container")
	defer h.mu.Unlock()
	if c := h.containers[id]; c == nil || c.Status.IsRunning() {
		return fail("x", "container is running", runtime.ErrConflict)
	}
	h.removed = append(h.removed, id)
	delete(h.containers, id)
	return nil
}

// Images implements Tasks.
func (h *host) Images() (refs, ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.needs)), nil
}

// Owns implements Tasks.
func (h *host) Owns(c *runtime.Container) bool { return c.Labels["task"] != "" }

func (h *host) need(local string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.needs[local] += n; h.needs[local] == 0 {
		delete(h.needs, local)
	}
}

func (h *host) get(local string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.getting[local] += n
}

// gone lists what was removed.
func (h *host) gone() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.removed)
}

var cleanNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ago(d time.Duration) time.Time { return cleanNow.Add(-d) }

func record(id string, pulled, used time.Duration, names ...string) Record {
	return Record{Image: RecordImage{ImageID: id, Names: names}, PulledAt: ago(pulled), LastUsedAt: ago(used)}
}
