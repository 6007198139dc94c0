package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"ecsagent/agent/image"
	"ecsagent/agent/task"
)

// Store keeps records in memory, as the JSON that a disk would hold.
type Store struct {
	mu      sync.Mutex
	specs   map[string][]byte
	states  map[string][]byte
	seq     int64
	saves   int
	deletes int
	err     error
	delay   time.Duration
}

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{specs: make(map[string][]byte), states: make(map[string][]byte)}
}

// Fail makes every write fail; nil ends that. Slow makes writes take time.
func (s *Store) Fail(err error) { s.mu.Lock(); s.err = err; s.mu.Unlock() }

// Slow makes every write take a time.
func (s *Store) Slow(d time.Duration) { s.mu.Lock(); s.delay = d; s.mu.Unlock() }

func (s *Store) enter() error {
	s.mu.Lock()
	delay, err := s.delay, s.err
	s.mu.Unlock()
	if delay > 0 {
		<-time.After(delay)
	}
	return err
}

// SaveTasks implements engine.Store.
func (s *Store) SaveTasks(seq int64, records []task.Record) error {
	if err := s.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq != 0 {
		s.seq = seq
	}
	for i := range records {
		r := &records[i]
		if _, twice := s.specs[r.Spec.ARN]; twice {
			return fmt.Errorf("task %s saved as new twice", r.Spec.ARN)
		}
		s.specs[r.Spec.ARN], s.states[r.Spec.ARN] = encode(r.Spec), encode(&r.State)
	}
	return nil
}

// SaveState implements engine.Store.
func (s *Store) SaveState(arn string, st task.State) error {
	if err := s.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.specs[arn]; !ok {
		return fmt.Errorf("state of unknown task %s", arn)
	}
	s.saves++
	s.states[arn] = encode(&st)
	return nil
}

// SaveSequence implements engine.Store.
func (s *Store) SaveSequence(seq int64) error {
	if err := s.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = seq
	return nil
}

// DeleteTask implements engine.Store.
func (s *Store) DeleteTask(arn string) error {
	if err := s.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes++
	delete(s.specs, arn)
	delete(s.states, arn)
	return nil
}

// Load returns what a new process would read.
func (s *Store) Load() ([]task.Record, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []task.Record
	for arn, spec := range s.specs {
		r := task.Record{Spec: new(task.Spec)}
		if err := errors.Join(json.Unmarshal(spec, r.Spec), json.Unmarshal(s.states[arn], &r.State)); err != nil {
			panic(err)
		}
		all = append(all, r)
	}
	return all, s.seq
}

// State returns the durable state of a task; false when there is none.
func (s *Store) State(arn string) (st task.State, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved, ok := s.states[arn]
	if ok {
		if err := json.Unmarshal(saved, &st); err != nil {
			panic(err)
		}
	}
	return st, ok
}

// Saves is how many states were saved.
func (s *Store) Saves() int { s.mu.Lock(); defer s.mu.Unlock(); return s.saves }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Reporter keeps what it observes.
type Reporter struct {
	// Check, when set, is called with every snapshot.
	Check func(*task.Snapshot)

	mu   sync.Mutex
	seen map[string][]*task.Snapshot
}

// Observe implements engine.Reporter.
func (r *Reporter) Observe(s *task.Snapshot) {
	if r.Check != nil {
		r.Check(s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = make(map[string][]*task.Snapshot)
	}
	r.seen[s.ARN] = append(r.seen[s.ARN], s)
}

// Seen returns the snapshots of a task in the order in which they came.
func (r *Reporter) Seen(arn string) []*task.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*task.Snapshot(nil), r.seen[arn]...)
}

// Statuses returns the task's known statuses in order, without repetitions.
func (r *Reporter) Statuses(arn string) (all []task.Status) {
	for _, s := range r.Seen(arn) {
		if len(all) == 0 || all[len(all)-1] != s.State.Known {
			all = append(all, s.State.Known)
		}
	}
	return all
}

// Images has every image at once, unless told otherwise.
type Images struct {
	mu      sync.Mutex
	digests map[string]Answer
	pulls   map[string]Answer
	asked   int
}

// Answer is what Images says of a reference.
type Answer struct {
	Delay  time.Duration
	Digest string
	Err    error
	Pulled bool // the answer took its delay in a pull
}

// OnDigest and OnEnsure say what happens for a reference.
func (m *Images) OnDigest(ref string, a Answer) { m.set(&m.digests, ref, a) }

// OnEnsure says what a pull of the reference does.
func (m *Images) OnEnsure(ref string, a Answer) { m.set(&m.pulls, ref, a) }

func (m *Images) set(answers *map[string]Answer, ref string, a Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *answers == nil {
		*answers = make(map[string]Answer)
	}
	(*answers)[ref] = a
}

func (m *Images) answer(ctx context.Context, answers *map[string]Answer, ref string) (Answer, error) {
	m.mu.Lock()
	a := (*answers)[ref]
	m.asked++
	m.mu.Unlock()
	if a.Delay > 0 {
		select {
		case <-time.After(a.Delay):
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
	return a, a.Err
}

// Digest implements engine.Images.
func (m *Images) Digest(ctx context.Context, r image.Request) (string, error) {
	a, err := m.answer(ctx, &m.digests, r.Ref)
	return a.Digest, err
}

// Ensure implements engine.Images.
func (m *Images) Ensure(ctx context.Context, r image.Request) (image.Result, error) {
	started := time.Now()
	a, err := m.answer(ctx, &m.pulls, r.Ref)
	if err != nil {
		return image.Result{StartedAt: started, StoppedAt: time.Now()}, err
	}
	result := image.Result{ImageID: "sha256:" + r.Ref, Digest: r.Digest}
	if a.Pulled {
		result.Pulled, result.StartedAt, result.StoppedAt = true, started, time.Now()
	}
	return result, nil
}

// Forget implements engine.Images.
func (m *Images) Forget(string) {}

// Asked is how often digests and images were asked for.
func (m *Images) Asked() int { m.mu.Lock(); defer m.mu.Unlock(); return m.asked }

// Ports hands out port after port and remembers who holds what.
type Ports struct {
	mu   sync.Mutex
	next uint16
	held map[uint16]bool
}

// Allocate implements engine.HostPorts.
func (p *Ports) Allocate(ports []task.PortMapping) ([]uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held, p.next = make(map[uint16]bool), 40000
	}
	chosen := make([]uint16, len(ports))
	for i := range ports {
		if ports[i].HostPort == 0 {
			p.next++
			chosen[i] = p.next
			p.held[p.next] = true
		}
	}
	return chosen, nil
}

// Release implements engine.HostPorts.
func (p *Ports) Release(_ []task.PortMapping, chosen []uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range chosen {
		delete(p.held, c)
	}
}

// Restore implements engine.HostPorts.
func (p *Ports) Restore(_ []task.PortMapping, chosen []uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held, p.next = make(map[uint16]bool), 40000
	}
	for _, c := range chosen {
		if c != 0 {
			p.held[c] = true
			p.next = max(p.next, c)
		}
	}
}

// Held is how many ports are held.
func (p *Ports) Held() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.held) }
