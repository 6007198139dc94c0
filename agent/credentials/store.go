// Package credentials is the store of the IAM role credentials that ECS sends for
// tasks (docs/spec/01 sections 2.8.2 and 2.9.2). It is in memory only; what outlives
// the process is package keep's.
package credentials

import (
	"context"
	"crypto/subtle"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"ecsagent/agent/secret"
)

// Role tells what a set of credentials is for.
type Role string

// Roles as ECS names them.
const (
	Application Role = "TaskApplication" // for the task's own processes
	Execution   Role = "TaskExecution"   // for the agent, on behalf of the task
)

// Valid reports whether ECS knows the role.
func (r Role) Valid() bool { return r == Application || r == Execution }

// Set is one set of credentials of one role of one task.
type Set struct {
	ID      string // opaque; running containers hold it in their credentials URI
	TaskARN string
	Role    Role

	RoleARN         string
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
	Expiration      string // RFC 3339 as ECS sent it; never interpreted
}

// Store maps ids to sets and tasks to the sets they use now. It is safe for
// concurrent use.
//
// An id is a bearer's secret: sets are found by a keyed hash of it, and the id itself
// is compared in constant time.
type Store struct {
	seed maphash.Seed

	mu      sync.RWMutex
	sets    map[uint64][]Set           // by the hash of the id
	tasks   map[string]map[Role]string // task ARN -> role -> the id that came last
	count   int
	next    int
	notify  map[int]func(Set)
	changed chan struct{} // closed and replaced at each change
}

// New returns an empty store.
func New() *Store {
	return &Store{
		seed:    maphash.MakeSeed(),
		sets:    make(map[uint64][]Set),
		tasks:   make(map[string]map[Role]string),
		notify:  make(map[int]func(Set)),
		changed: make(chan struct{}),
	}
}

// Put stores a set, replacing the one with the same id, and makes it the current
// one of its task and role. Earlier sets of the task stay until the task is
// removed, because running containers may hold their ids.
func (s *Store) Put(set Set) {
	s.mu.Lock()
	if old := s.find(set.ID); old != nil {
		if old.TaskARN != set.TaskARN || old.Role != set.Role {
			s.unbind(*old)
		}
		*old = set
	} else {
		h := s.hash(set.ID)
		s.sets[h] = append(s.sets[h], set)
		s.count++
	}
	s.bind(set.TaskARN, set.Role, set.ID)
	s.tell()
	subscribers := slices.Collect(maps.Values(s.notify))
	s.mu.Unlock()

	for _, fn := range subscribers {
		fn(set)
	}
}

// Bind makes the set with the id the current one of the task and role. It reports
// whether there is such a set.
func (s *Store) Bind(taskARN string, role Role, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.find(id)
	if set == nil {
		return false
	}
	s.unbind(*set)
	set.TaskARN, set.Role = taskARN, role
	s.bind(taskARN, role, id)
	s.tell()
	return true
}

// Get returns the set with the id.
func (s *Store) Get(id string) (Set, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if set := s.find(id); set != nil {
		return *set, true
	}
	return Set{}, false
}

// Await returns the set with the id as soon as it is there, or false when ctx ends
// first.
func (s *Store) Await(ctx context.Context, id string) (Set, bool) {
	for {
		changed := s.Changed()
		if set, ok := s.Get(id); ok {
			return set, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Set{}, false
		}
	}
}

// ForTask returns the current set of a task and role.
func (s *Store) ForTask(taskARN string, role Role) (Set, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if id, ok := s.tasks[taskARN][role]; ok {
		if set := s.find(id); set != nil {
			return *set, true
		}
	}
	return Set{}, false
}

// All returns every set, in no order.
func (s *Store) All() []Set {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Set, 0, s.count)
	for _, sets := range s.sets {
		all = append(all, sets...)
	}
	return all
}

// Remove forgets one set.
func (s *Store) Remove(id string) { s.removeIf(func(set *Set) bool { return set.ID == id }) }

// RemoveTask forgets every set of a task.
func (s *Store) RemoveTask(taskARN string) {
	s.removeIf(func(set *Set) bool { return set.TaskARN == taskARN })
}

// RemoveRole forgets the sets of one role of a task.
func (s *Store) RemoveRole(taskARN string, role Role) {
	s.removeIf(func(set *Set) bool { return set.TaskARN == taskARN && set.Role == role })
}

// Len returns the number of sets.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.count
}

// Changed returns a channel that is closed at the next change.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// Subscribe calls fn after each Put, on the goroutine that put the set, until
// cancel is called. fn must not block.
func (s *Store) Subscribe(fn func(Set)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	s.next++
	s.notify[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.notify, id)
	}
}

func (s *Store) hash(id string) uint64 { return maphash.String(s.seed, id) }

// find returns the stored set; nil when there is none. It needs the lock.
func (s *Store) find(id string) *Set {
	candidates := s.sets[s.hash(id)]
	for i := range candidates {
		if subtle.ConstantTimeCompare([]byte(candidates[i].ID), []byte(id)) == 1 {
			return &candidates[i]
		}
	}
	return nil
}

func (s *Store) removeIf(is func(*Set) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.count
	for h, sets := range s.sets {
		kept := slices.DeleteFunc(sets, func(set Set) bool {
			if !is(&set) {
				return false
			}
			s.unbind(set)
			s.count--
			return true
		})
		if len(kept) == 0 {
			delete(s.sets, h)
		} else {
			s.sets[h] = kept
		}
	}
	if s.count != before {
		s.tell()
	}
}

// tell wakes whoever waits for a change. It needs the lock.
func (s *Store) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) bind(taskARN string, role Role, id string) {
	if s.tasks[taskARN] == nil {
		s.tasks[taskARN] = make(map[Role]string, 2)
	}
	s.tasks[taskARN][role] = id
}

func (s *Store) unbind(set Set) {
	roles := s.tasks[set.TaskARN]
	if roles[set.Role] != set.ID {
		return
	}
	delete(roles, set.Role)
	if len(roles) == 0 {
		delete(s.tasks, set.TaskARN)
	}
}
