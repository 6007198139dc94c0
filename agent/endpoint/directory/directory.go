package directory

import (
	"context"
	"crypto/subtle"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

// Directory is safe for concurrent use.
type Directory struct {
	seed      maphash.Seed
	tasks     sync.Map // ARN -> *Task
	endpoints table[Member]
	roles     table[Holder]
	addresses sync.Map // netip.Addr -> *Task

	// local gives the address from which a task with a network of its own reaches the
	// host; invalid when it has none.
	local func(*task.Snapshot) netip.Addr
}

// Options configure a Directory.
type Options struct {
	// LocalAddress gives the address from which a task with a network of its own
	// reaches the host; nil, or invalid, when it has none.
	LocalAddress func(*task.Snapshot) netip.Addr
}

// Task is a task as it is now.
type Task struct {
	ARN string
	// Memo is a reader's own: what it made of a picture, to be used again.
	Memo atomic.Pointer[any]

	snap    atomic.Pointer[task.Snapshot]
	changed atomic.Pointer[chan struct{}] // closed at the next picture; nil when nobody waits
	gone    atomic.Bool
}

// Member is a container of a task.
type Member struct {
	Task  *Task
	Index int // of the task's containers
	id    string
}

// Holder is a role of a task.
type Holder struct {
	Task *Task
	Role credentials.Role
	id   string
}

func (m *Member) key() string { return m.id }
func (h *Holder) key() string { return h.id }

// New returns an empty directory.
func New(o Options) *Directory {
	seed := maphash.MakeSeed()
	d := &Directory{seed: seed, local: o.LocalAddress}
	d.endpoints.seed, d.roles.seed = seed, seed
	return d
}

// Published takes a new picture of a task. Calls for one task come one after another.
func (d *Directory) Published(s *task.Snapshot) {
	var t *Task
	if v, ok := d.tasks.Load(s.ARN); ok {
		t = v.(*Task)
	} else {
		t = &Task{ARN: s.ARN}
	}
	old := t.snap.Swap(s)
	if old == nil {
		d.tasks.Store(s.ARN, t)
	}
	d.register(t, old, s)
	d.address(t, old, s)
	t.tell()
}

// Gone forgets a task.
func (d *Directory) Gone(arn string) {
	v, ok := d.tasks.LoadAndDelete(arn)
	if !ok {
		return
	}
	t := v.(*Task)
	t.gone.Store(true)
	s := t.Snapshot()
	d.endpoints.drop(func(m *Member) bool { return m.Task == t }, endpointIDs(s)...)
	d.roles.drop(func(h *Holder) bool { return h.Task == t }, s.CredentialsID, s.ExecutionCredentialsID)
	for _, a := range d.addressesOf(s) {
		d.addresses.CompareAndDelete(a, t)
	}
	t.tell()
}

// Clear forgets every task.
func (d *Directory) Clear() {
	d.tasks.Range(func(arn, _ any) bool {
		d.Gone(arn.(string))
		return true
	})
}

// Task returns a task by its ARN; nil when it is not known.
func (d *Directory) Task(arn string) *Task {
	if v, ok := d.tasks.Load(arn); ok {
		return v.(*Task)
	}
	return nil
}

// Tasks calls fn with every task until it returns false.
func (d *Directory) Tasks(fn func(*Task) bool) {
	d.tasks.Range(func(_, v any) bool { return fn(v.(*Task)) })
}

// Endpoint returns the container with the endpoint id; nil when there is none.
func (d *Directory) Endpoint(id string) *Member { return d.endpoints.find(id) }

// Role returns the task and role that have the credentials id; nil when none does.
func (d *Directory) Role(id string) *Holder { return d.roles.find(id) }

// At returns the task that has the address; nil when none is known to.
func (d *Directory) At(a netip.Addr) *Task {
	if v, ok := d.addresses.Load(a.Unmap()); ok {
		return v.(*Task)
	}
	return nil
}

func (d *Directory) register(t *Task, old, s *task.Snapshot) {
	for i := range s.State.Containers {
		id := s.State.Containers[i].EndpointID
		if id != "" && (old == nil || i >= len(old.State.Containers) || old.State.Containers[i].EndpointID != id) {
			d.endpoints.put(&Member{Task: t, Index: i, id: id})
		}
	}
	if old == nil {
		if s.CredentialsID != "" {
			d.roles.put(&Holder{Task: t, Role: credentials.Application, id: s.CredentialsID})
		}
		if s.ExecutionCredentialsID != "" {
			d.roles.put(&Holder{Task: t, Role: credentials.Execution, id: s.ExecutionCredentialsID})
		}
	}
}

func (d *Directory) address(t *Task, old, s *task.Snapshot) {
	now := d.addressesOf(s)
	for _, a := range now {
		d.addresses.Store(a, t)
	}
	if old == nil {
		return
	}
	for _, a := range d.addressesOf(old) {
		if !slices.Contains(now, a) {
			d.addresses.CompareAndDelete(a, t)
		}
	}
}

// addressesOf lists the addresses that are the task's alone: those of its running
// containers in Docker networks, and the one it has as a whole.
func (d *Directory) addressesOf(s *task.Snapshot) (list []netip.Addr) {
	if s.State.Known == task.Stopped {
		return nil
	}
	for i := range s.State.Containers {
		c := &s.State.Containers[i]
		if !c.Known.IsRunning() || c.Restarting {
			continue
		}
		for _, n := range c.Networks {
			for _, text := range []string{n.IPv4, n.IPv6} {
				if a, err := netip.ParseAddr(text); err == nil && !a.IsLoopback() && !a.IsUnspecified() {
					list = append(list, a.Unmap())
				}
			}
		}
	}
	if d.local != nil {
		if a := d.local(s); a.IsValid() {
			list = append(list, a.Unmap())
		}
	}
	return list
}

func endpointIDs(s *task.Snapshot) []string {
	ids := make([]string, 0, len(s.State.Containers))
	for i := range s.State.Containers {
		ids = append(ids, s.State.Containers[i].EndpointID)
	}
	return ids
}

// Snapshot is the task's latest picture.
func (t *Task) Snapshot() *task.Snapshot { return t.snap.Load() }

// Await returns the first picture that satisfies ok, or the latest when ctx ends or
// the task goes away.
func (t *Task) Await(ctx context.Context, ok func(*task.Snapshot) bool) *task.Snapshot {
	for {
		changed := t.nextChange()
		s := t.Snapshot()
		if ok(s) || t.gone.Load() {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return t.Snapshot()
		}
	}
}

// Unsettled reports whether containers of the task are being started: their addresses
// are not known yet.
func (t *Task) Unsettled() bool {
	s := t.Snapshot()
	for i := range s.State.Containers {
		if Starting(&s.State.Containers[i]) {
			return true
		}
	}
	return false
}

// Starting reports whether a container is being started: it may run already.
func Starting(c *task.ContainerState) bool {
	return c.Restarting || c.Known < task.ContainerRunning && c.Applied >= task.ContainerRunning && c.Applied != task.ContainerStopped
}

func (t *Task) nextChange() <-chan struct{} {
	for {
		if c := t.changed.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if t.changed.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

func (t *Task) tell() {
	if c := t.changed.Swap(nil); c != nil {
		close(*c)
	}
}

// table finds values by secret ids. Readers take no lock; writers exclude each other.
type table[T any] struct {
	seed  maphash.Seed
	write sync.Mutex
	slots sync.Map // hash of the id -> []*T, never changed in place
}

type keyed interface{ key() string }

func (t *table[T]) find(id string) *T {
	v, ok := t.slots.Load(maphash.String(t.seed, id))
	if !ok {
		return nil
	}
	for _, candidate := range v.([]*T) {
		if same(any(candidate).(keyed).key(), id) {
			return candidate
		}
	}
	return nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (t *table[T]) put(value *T) {
	id := any(value).(keyed).key()
	h := maphash.String(t.seed, id)
	t.write.Lock()
	defer t.write.Unlock()
	list := []*T{value}
	if v, ok := t.slots.Load(h); ok {
		for _, other := range v.([]*T) {
			if any(other).(keyed).key() != id {
				list = append(list, other)
			}
		}
	}
	t.slots.Store(h, list)
}

// drop forgets the values of the ids that belong to whom is says.
func (t *table[T]) drop(is func(*T) bool, ids ...string) {
	t.write.Lock()
	defer t.write.Unlock()
	for _, id := range ids {
		h := maphash.String(t.seed, id)
		v, ok := t.slots.Load(h)
		if !ok {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(v.([]*T)), is)
		if len(kept) == 0 {
			t.slots.Delete(h)
		} else {
			t.slots.Store(h, kept)
		}
	}
}
