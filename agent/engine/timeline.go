package engine

import (
	"fmt"
	"slices"
	"strings"

	"ecsagent/agent/image"
	"ecsagent/agent/task"
)

// PullProgress is what Images may offer besides: how the pull of a request goes, in
// words such as "3rd in queue"; empty when there is nothing to say.
type PullProgress interface {
	Progress(r image.Request) string
}

// Timeline tells what happened to a task and what it waits for; nil when the task is
// not known. It takes no lock that the engine takes.
func (e *Engine) Timeline(arn string) *task.Timeline {
	a := e.actor(arn)
	if a == nil {
		return nil
	}
	line := e.timeline(a, e.newExplainer())
	s := a.story.Load()
	head, tail, dropped := s.entries()
	line.Entries = slices.Concat(head, tail)
	if dropped > 0 {
		left := task.Entry{At: tail[0].At, Event: "...", Detail: fmt.Sprintf("%d entries left out", dropped)}
		line.Entries = slices.Insert(line.Entries, len(head), left)
	}
	return line
}

// Timelines tells of every task what it waits for, without its entries.
func (e *Engine) Timelines() []*task.Timeline {
	var all []*task.Timeline
	x := e.newExplainer()
	e.eachActor(func(a *actor) { all = append(all, e.timeline(a, x)) })
	return all
}

func (e *Engine) timeline(a *actor, x *explainer) *task.Timeline {
	s := a.story.Load()
	line := &task.Timeline{Snapshot: a.snap.Load(), Since: s.since}
	for _, w := range s.waits {
		told := task.Waiting{For: w.Word(), Detail: w.Detail(a.spec), Since: w.since}
		if w.Container >= 0 {
			told.Container = a.spec.Containers[w.Container].Name
		}
		switch {
		case w.For == task.WaitResources:
			told.Detail = x.resources(a)
		case w.For == task.WaitStep && w.Step == task.StepPull:
			told.Detail += x.pull(line.Snapshot, w.Container)
		}
		line.Waits = append(line.Waits, told)
	}
	return line
}

// explainer puts into words what only all tasks together tell. It reads snapshots.
type explainer struct {
	e     *Engine
	queue []string // tasks that wait for resources, in order; made when asked for
	ports map[port]string
	gpus  map[string]string
}

type port struct {
	protocol task.Protocol
	number   uint16
}

func (e *Engine) newExplainer() *explainer { return &explainer{e: e} }

// look finds who waits and who holds what.
func (x *explainer) look() {
	if x.ports != nil {
		return
	}
	x.ports, x.gpus = make(map[port]string), make(map[string]string)
	var queue []*actor
	x.e.eachActor(func(a *actor) {
		s := a.story.Load()
		if s.holds {
			x.holds(a.spec)
		}
		if slices.ContainsFunc(s.waits, func(w noted) bool { return w.For == task.WaitResources }) {
			queue = append(queue, a)
		}
	})
	slices.SortFunc(queue, func(a, b *actor) int {
		return a.snap.Load().State.AcceptedAt.Compare(b.snap.Load().State.AcceptedAt)
	})
	for _, a := range queue {
		x.queue = append(x.queue, a.spec.ARN)
	}
}

func (x *explainer) holds(spec *task.Spec) {
	d := demandOf(spec)
	for _, n := range d.tcp {
		x.ports[port{task.TCP, n}] = spec.ID()
	}
	for _, n := range d.udp {
		x.ports[port{task.UDP, n}] = spec.ID()
	}
	for _, id := range d.gpus {
		x.gpus[id] = spec.ID()
	}
}

// resources tells what the host lacks for a task and its place in the queue.
func (x *explainer) resources(a *actor) string {
	x.look()
	want, host := demandOf(a.spec), x.e.admission
	cpu, memory := host.left()
	var lacks []string
	if want.memory > memory {
		lacks = append(lacks, fmt.Sprintf("%d MiB of memory, %d free", want.memory, max(0, memory)))
	}
	if want.cpu > cpu {
		lacks = append(lacks, fmt.Sprintf("%d CPU units, %d free", want.cpu, max(0, cpu)))
	}
	lacks = append(lacks, x.takenPorts(task.TCP, want.tcp, host.capacity.ReservedTCP)...)
	lacks = append(lacks, x.takenPorts(task.UDP, want.udp, host.capacity.ReservedUDP)...)
	for _, id := range want.gpus {
		if holder := x.gpus[id]; holder != "" {
			lacks = append(lacks, fmt.Sprintf("GPU %s is taken by task %s", id, holder))
		}
	}
	if len(lacks) == 0 {
		lacks = append(lacks, "its turn")
	}
	text := strings.Join(lacks, ", ")
	if place := slices.Index(x.queue, a.spec.ARN); place >= 0 {
		text += fmt.Sprintf("; %s in the queue", task.Ordinal(place+1))
	}
	return text
}

func (x *explainer) takenPorts(protocol task.Protocol, wanted, reserved []uint16) (lacks []string) {
	for _, n := range wanted {
		switch holder := x.ports[port{protocol, n}]; {
		case holder != "":
			lacks = append(lacks, fmt.Sprintf("host port %d is taken by task %s", n, holder))
		case slices.Contains(reserved, n):
			lacks = append(lacks, fmt.Sprintf("host port %d is reserved", n))
		}
	}
	return lacks
}

// pull tells how a pull goes, as far as Images can.
func (x *explainer) pull(s *task.Snapshot, i int) string {
	p, ok := x.e.opt.Images.(PullProgress)
	if !ok {
		return ""
	}
	c := &s.Containers[i]
	text := p.Progress(image.Request{
		Ref: c.Image, Auth: c.RegistryAuth,
		ExecutionCredentialsID: s.ExecutionCredentialsID, Digest: s.State.Containers[i].ImageDigest,
	})
	if text == "" {
		return ""
	}
	return ", " + text
}
