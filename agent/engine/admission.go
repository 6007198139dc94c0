package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ecsagent/agent/task"
)

// demand is what a task takes of the host while it runs (docs/spec/02 section 8.1).
type demand struct {
	cpu, memory int64
	tcp, udp    []uint16
	gpus        []string
}

func demandOf(spec *task.Spec) demand {
	var d demand
	for i := range spec.Containers {
		c := &spec.Containers[i]
		if !c.Internal() {
			d.cpu += c.CPU
			d.memory += memoryOf(c)
		}
		d.gpus = append(d.gpus, c.GPUs...)
		for _, p := range spec.Published(i) {
			switch {
			case p.HostPort == 0 || p.Range != "":
			case p.Protocol == task.UDP:
				d.udp = append(d.udp, p.HostPort)
			default:
				d.tcp = append(d.tcp, p.HostPort)
			}
		}
	}
	if spec.CPU > 0 {
		d.cpu = int64(spec.CPU * 1024)
	}
	if spec.Memory > 0 {
		d.memory = spec.Memory
	}
	return d
}

// memoryOf is the container's soft limit in MiB, else its hard limit. The soft limit
// is only in the HostConfig that ECS rendered.
func memoryOf(c *task.Container) int64 {
	var host struct{ MemoryReservation int64 }
	if c.DockerHostConfig != "" && json.Unmarshal([]byte(c.DockerHostConfig), &host) == nil {
		if soft := host.MemoryReservation >> 20; soft > 0 {
			return soft
		}
	}
	return c.Memory
}

// grant is the answer to a task that waited: its resources, or the reason why it
// can never have them.
type grant struct {
	arn    string
	reason string
}

// admission accounts for the host's resources and queues tasks that do not fit. Its
// methods do no I/O and may be called from any goroutine.
//
// Tasks are granted in the order in which they were accepted, but a task that fits
// may pass one that does not. Once the oldest of those has waited for the age limit
// nothing passes it any more, so that small tasks cannot starve it. A task that is
// larger than the whole host holds nobody up.
//
// A queue of n tasks costs at most n comparisons per evaluation, and none while less
// is left than the least that any of them wants.
type admission struct {
	capacity Capacity
	age      time.Duration

	mu          sync.Mutex
	open        bool         // until then tasks only queue: what runs already is not yet known
	cpu, memory atomic.Int64 // taken; written under mu
	tcp, udp    map[uint16]int
	gpus        map[string]int
	held        map[string]demand
	queued      map[string]*waiting
	queue       []*waiting // oldest first
	refused     []grant    // never to be served; told at the next evaluation
	// least is no more than what each queued task wants; exact after a whole scan.
	leastCPU, leastMemory int64
}

type waiting struct {
	arn      string
	want     demand
	since    time.Time
	possible bool // would fit an idle host
}

func newAdmission(c Capacity, age time.Duration) *admission {
	a := &admission{
		capacity: c, age: age,
		tcp: make(map[uint16]int), udp: make(map[uint16]int), gpus: make(map[string]int),
		held: make(map[string]demand), queued: make(map[string]*waiting),
	}
	for _, p := range c.ReservedTCP {
		a.tcp[p]++
	}
	for _, p := range c.ReservedUDP {
		a.udp[p]++
	}
	return a
}

// enqueue lets a task wait for what it wants; evaluate grants it.
func (a *admission) enqueue(arn string, want demand, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.held[arn]; ok || a.queued[arn] != nil {
		return
	}
	if reason := a.invalid(&want); reason != "" {
		a.refused = append(a.refused, grant{arn: arn, reason: task.Unrunnable(arn, reason)})
		return
	}
	w := &waiting{arn: arn, want: want, since: since, possible: a.possible(&want)}
	if len(a.queue) == 0 {
		a.leastCPU, a.leastMemory = want.cpu, want.memory
	}
	a.leastCPU, a.leastMemory = min(a.leastCPU, want.cpu), min(a.leastMemory, want.memory)
	a.queued[arn] = w
	a.queue = slices.Insert(a.queue, a.after(since), w)
}

// after is the place in the queue behind everybody who came no later than t.
func (a *admission) after(t time.Time) int {
	at, _ := slices.BinarySearchFunc(a.queue, t, func(w *waiting, t time.Time) int {
		if w.since.After(t) {
			return 1
		}
		return -1
	})
	return at
}

// force accounts for a task that runs already, whether it fits or not.
func (a *admission) force(arn string, want demand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.held[arn]; !ok {
		a.take(arn, want)
	}
}

// start lets tasks be granted from now on.
func (a *admission) start(now time.Time) []grant {
	a.mu.Lock()
	a.open = true
	a.mu.Unlock()
	return a.evaluate(now)
}

// release gives back what the task holds, or takes it out of the queue, and returns
// who may go on because of it.
func (a *admission) release(arn string) []grant {
	a.mu.Lock()
	if d, ok := a.held[arn]; ok {
		delete(a.held, arn)
		a.account(d, -1)
	}
	if w := a.queued[arn]; w != nil {
		delete(a.queued, arn)
		for i := a.after(w.since) - 1; i >= 0; i-- { // those of the same instant stand together
			if a.queue[i] == w {
				a.queue = slices.Delete(a.queue, i, i+1)
				break
			}
		}
	}
	a.mu.Unlock()
	return a.evaluate(time.Now())
}

// evaluate grants what can be granted.
func (a *admission) evaluate(now time.Time) (granted []grant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open {
		return nil
	}
	granted, a.refused = a.refused, nil
	kept, i := 0, 0
	var cpu, memory int64 = math.MaxInt64, math.MaxInt64 // the least of those kept
	for barrier := false; i < len(a.queue) && !barrier && !a.exhausted(); i++ {
		w := a.queue[i]
		if a.fits(&w.want) {
			a.take(w.arn, w.want)
			delete(a.queued, w.arn)
			granted = append(granted, grant{arn: w.arn})
			continue
		}
		a.queue[kept] = w
		kept++
		cpu, memory = min(cpu, w.want.cpu), min(memory, w.want.memory)
		barrier = w.possible && now.Sub(w.since) >= a.age
	}
	if i == len(a.queue) {
		a.leastCPU, a.leastMemory = cpu, memory
	}
	if kept != i {
		a.queue = slices.Delete(a.queue, kept, i)
	}
	return granted
}

// left is what is free of the host. It takes no lock.
func (a *admission) left() (cpu, memory int64) {
	return a.capacity.CPU - a.cpu.Load(), a.capacity.Memory - a.memory.Load()
}

// exhausted reports whether less is left than anybody in the queue wants.
func (a *admission) exhausted() bool {
	cpu, memory := a.left()
	return cpu < a.leastCPU || memory < a.leastMemory
}

func (a *admission) take(arn string, d demand) {
	a.held[arn] = d
	a.account(d, 1)
}

func (a *admission) account(d demand, sign int) {
	a.cpu.Add(int64(sign) * d.cpu)
	a.memory.Add(int64(sign) * d.memory)
	addAll(a.tcp, d.tcp, sign)
	addAll(a.udp, d.udp, sign)
	addAll(a.gpus, d.gpus, sign)
}

func addAll[K comparable](counts map[K]int, keys []K, sign int) {
	for _, k := range keys {
		if counts[k] += sign; counts[k] <= 0 {
			delete(counts, k)
		}
	}
}

// fits reports whether what is left is enough.
func (a *admission) fits(d *demand) bool {
	cpu, memory := a.left()
	return d.cpu <= cpu && d.memory <= memory && free(a.tcp, d.tcp) && free(a.udp, d.udp) && free(a.gpus, d.gpus)
}

func free[K comparable](used map[K]int, keys []K) bool {
	for _, k := range keys {
		if used[k] > 0 {
			return false
		}
	}
	return true
}

// addGPUs takes note of GPUs that came.
func (a *admission) addGPUs(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.capacity.GPUs = slices.Clone(a.capacity.GPUs)
	for _, id := range ids {
		if !slices.Contains(a.capacity.GPUs, id) {
			a.capacity.GPUs = append(a.capacity.GPUs, id)
		}
	}
}

// AddGPUs tells of GPUs that came to the host after the start; tasks can have them from
// now on.
func (e *Engine) AddGPUs(ids []string) { e.admission.addGPUs(ids) }

// possible reports whether the demand would fit an idle host.
func (a *admission) possible(d *demand) bool {
	for _, p := range d.tcp {
		if slices.Contains(a.capacity.ReservedTCP, p) {
			return false
		}
	}
	for _, p := range d.udp {
		if slices.Contains(a.capacity.ReservedUDP, p) {
			return false
		}
	}
	return d.cpu <= a.capacity.CPU && d.memory <= a.capacity.Memory
}

// invalid says why the host can never serve the demand; empty when waiting makes
// sense (docs/spec/02 section 8.2).
func (a *admission) invalid(d *demand) string {
	for i, id := range d.gpus {
		if !slices.Contains(a.capacity.GPUs, id) {
			return fmt.Sprintf("GPU %s does not exist on this container instance", id)
		}
		if slices.Contains(d.gpus[:i], id) {
			return fmt.Sprintf("GPU %s is asked for more than once", id)
		}
	}
	return ""
}

// grant tells tasks that they may go on.
func (e *Engine) grant(grants []grant) {
	for _, g := range grants {
		if a := e.actor(g.arn); a != nil {
			a.box.put(admittedMessage{reason: g.reason})
		}
	}
}
