// Package credentials is the store of the IAM role credentials that ECS sends for
// tasks (docs/spec/01 sections 2.8.2 and 2.9.2). It lives in memory only: after a
// restart ECS sends every set again.
package credentials

import (
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
type Store struct {
	mu     sync.RWMutex
	sets   map[string]Set
	tasks  map[string]map[Role]string // task ARN -> role -> the id that came last
	next   int
	notify map[int]func(Set)
}

// New returns an empty store.
func New() *Store {
	return &Store{
		sets:   make(map[string]Set),
		tasks:  make(map[string]map[Role]string),
		notify: make(map[int]func(Set)),
	}
}

// Put stores a set, replacing the one with the same id, and makes it the current
// one of its task and role. Earlier sets of the task stay until the task is
// removed, because running containers may hold their ids.
func (s *Store) Put(set Set) {
	s.mu.Lock()
	if old, ok := s.sets[set.ID]; ok && (old.TaskARN != set.TaskARN || old.Role != set.Role) {
		s.unbind(old)
	}
	s.sets[set.ID] = set
	s.bind(set.TaskARN, set.Role, set.ID)
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
	set, ok := s.sets[id]
	if !ok {
		return false
	}
	s.unbind(set)
	set.TaskARN, set.Role = taskARN, role
	s.sets[id] = set
	s.bind(taskARN, role, id)
	return true
}

// Get returns the set with the id.
func (s *Store) Get(id string) (Set, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	set, ok := s.sets[id]
	return set, ok
}

// ForTask returns the current set of a task and role.
func (s *Store) ForTask(taskARN string, role Role) (Set, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	set, ok := s.sets[s.tasks[taskARN][role]]
	return set, ok
}

// Remove forgets one set.
func (s *Store) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set, ok := s.sets[id]; ok {
		s.unbind(set)
		delete(s.sets, id)
	}
}

// RemoveTask forgets every set of a task.
func (s *Store) RemoveTask(taskARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.sets, func(_ string, set Set) bool { return set.TaskARN == taskARN })
	delete(s.tasks, taskARN)
}

// Len returns the number of sets.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.sets)
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
