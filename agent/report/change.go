package report

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ecsagent/agent/task"
)

// Limits of the wire in bytes (docs/spec/01 Appendix A).
const (
	maxReason   = 1024
	maxIdentity = 255 // runtime id, image digest
	maxBindings = 100 // of a container with a port range
)

// change is one SubmitTaskStateChange that has to be made.
type change struct {
	status task.Status
	reason string
	news

	pullStartedAt, pullStoppedAt, executionStoppedAt time.Time
}

// news is what is new of the containers of a task.
type news struct {
	containers []containerChange
	agents     []agentChange
}

func (n *news) empty() bool { return len(n.containers) == 0 && len(n.agents) == 0 }

// agentChange is what is new of the exec agent of a container.
type agentChange struct {
	container string
	task.AgentReport
}

// containerChange is what is new of one container.
type containerChange struct {
	name        string
	status      task.ContainerStatus
	runtimeID   string
	imageDigest string
	exitCode    *int
	reason      string
	bindings    []binding
}

// binding is a published port, or a range of them.
type binding struct {
	bindIP                       string
	protocol                     task.Protocol
	containerPort, hostPort      uint16
	containerPorts, hostPortsRun string // "8000-8010", instead of the single ports
}

// containerChanges returns what the snapshot shows beyond what was queued, and
// raises queued to it.
func (f filter) containerChanges(s *task.Snapshot, queued *task.Sent) []containerChange {
	var changes []containerChange
	for i := range s.Spec.Containers {
		if i >= len(s.State.Containers) {
			break
		}
		c, st := &s.Spec.Containers[i], &s.State.Containers[i]
		if c.Internal() || !reportable(c, st) || queued.Containers[c.Name] >= st.Known {
			continue
		}
		if queued.Containers == nil {
			queued.Containers = make(map[string]task.ContainerStatus, len(s.Spec.Containers))
		}
		queued.Containers[c.Name] = st.Known
		changes = append(changes, f.containerChange(c, st, bindingsOf(s, i)))
	}
	return changes
}

// addAgents adds what the snapshot shows of exec agents beyond what was queued, and raises
// queued to it. Of what changes again before it is sent, the latest counts.
func (n *news) addAgents(s *task.Snapshot, queued *task.Sent) {
	for i := range s.State.Containers {
		name := s.Spec.Containers[i].Name
		now, ok := s.State.Containers[i].ExecAgent.Report()
		if !ok || queued.Agents[name] == now {
			continue
		}
		if queued.Agents == nil {
			queued.Agents = make(map[string]task.AgentReport)
		}
		queued.Agents[name] = now
		n.agents = slices.DeleteFunc(n.agents, func(a agentChange) bool { return a.container == name })
		n.agents = append(n.agents, agentChange{name, now})
	}
}

// reportable follows docs/spec/01 section 1.9.
func reportable(c *task.Container, st *task.ContainerState) bool {
	switch st.Known {
	case task.ContainerManifestPulled:
		return freshDigest(c, st)
	case c.SteadyStatus(), task.ContainerStopped:
		return true
	default:
		return false
	}
}

// freshDigest reports whether the agent resolved the image's digest itself.
func freshDigest(c *task.Container, st *task.ContainerState) bool {
	return st.ImageDigest != "" && !strings.Contains(c.Image, "@")
}

// bindingsOf are the published ports of a container: those of its pause container where
// that has them (docs/spec/05 section 1.7.4).
func bindingsOf(s *task.Snapshot, i int) []task.PortBinding {
	if s.ConnectsBridged() {
		if pause := s.NetworkOf(i); pause >= 0 && pause < len(s.State.Containers) {
			return s.State.Containers[pause].Bindings
		}
	}
	return s.State.Containers[i].Bindings
}

func (f filter) containerChange(c *task.Container, st *task.ContainerState, published []task.PortBinding) containerChange {
	out := containerChange{
		name: c.Name, status: st.Known, runtimeID: cut(st.RuntimeID, maxIdentity),
		imageDigest: cut(st.ImageDigest, maxIdentity), exitCode: st.ExitCode, bindings: f.bindings(c, published),
	}
	if st.Error != nil {
		out.reason = cut(st.Error.Error(), maxReason)
	}
	return out
}

// taskChangeDue reports whether the task's own status is news.
func taskChangeDue(s *task.Snapshot, queued task.Sent) bool {
	if s.State.Known <= queued.Task {
		return false
	}
	switch s.State.Known {
	case task.Running, task.Stopped:
		return true
	case task.ManifestPulled:
		for i := range s.State.Containers {
			if c := &s.Spec.Containers[i]; !c.Internal() && freshDigest(c, &s.State.Containers[i]) {
				return true
			}
		}
	}
	return false
}

func newChange(s *task.Snapshot, n news) change {
	c := change{
		status: s.State.Known, news: n,
		pullStartedAt: s.State.PullStartedAt, pullStoppedAt: s.State.PullStoppedAt,
		executionStoppedAt: s.State.ExecutionStoppedAt,
	}
	if s.State.Known == task.Stopped {
		c.reason = cut(s.State.TerminalReason, maxReason)
	}
	return c
}

// raise adds a change that ECS accepted to what it has accepted before. The result
// shares nothing with sent.
func raise(sent task.Sent, c change) task.Sent {
	out := task.Sent{Task: max(sent.Task, c.status), Containers: make(map[string]task.ContainerStatus, len(sent.Containers)+len(c.containers))}
	for name, status := range sent.Containers {
		out.Containers[name] = status
	}
	for _, cc := range c.containers {
		out.Containers[cc.name] = max(out.Containers[cc.name], cc.status)
	}
	out.Agents = maps.Clone(sent.Agents)
	for _, g := range c.agents {
		if out.Agents == nil {
			out.Agents = make(map[string]task.AgentReport)
		}
		out.Agents[g.container] = g.AgentReport
	}
	return out
}

func cloneSent(s task.Sent) task.Sent { return raise(s, change{}) }

// filter drops bindings that the instance does not report.
type filter struct {
	excludeIPv6 bool // drop those on ::
	excludeIPv4 bool // drop those on 0.0.0.0
}

// bindings lists single ports one by one and joins the ports of a range mapping
// where Docker published them in one run (docs/spec/01 section 1.10.1).
func (f filter) bindings(c *task.Container, published []task.PortBinding) []binding {
	ranges := portRanges(c)
	var out []binding
	runs := map[runKey][]task.PortBinding{}
	for _, b := range published {
		if (f.excludeIPv6 && b.BindIP == "::") || (f.excludeIPv4 && b.BindIP == "0.0.0.0") {
			continue
		}
		if i := ranges.index(b); i >= 0 {
			key := runKey{i, b.BindIP}
			runs[key] = append(runs[key], b)
			continue
		}
		out = append(out, single(b))
	}
	for _, key := range slices.SortedFunc(maps.Keys(runs), compareRuns) {
		out = append(out, join(runs[key])...)
	}
	if len(ranges) > 0 && len(out) > maxBindings {
		out = out[:maxBindings]
	}
	return out
}

type runKey struct {
	mapping int
	bindIP  string
}

func compareRuns(a, b runKey) int {
	return cmp.Or(cmp.Compare(a.mapping, b.mapping), strings.Compare(a.bindIP, b.bindIP))
}

func single(b task.PortBinding) binding {
	return binding{bindIP: b.BindIP, protocol: b.Protocol, containerPort: b.ContainerPort, hostPort: b.HostPort}
}

// join makes one entry of a range whose host ports follow each other as the
// container ports do, and single entries of any other.
func join(run []task.PortBinding) []binding {
	slices.SortFunc(run, func(a, b task.PortBinding) int { return cmp.Compare(a.ContainerPort, b.ContainerPort) })
	first, last := run[0], run[len(run)-1]
	for i, b := range run {
		if int(b.ContainerPort) != int(first.ContainerPort)+i || int(b.HostPort) != int(first.HostPort)+i {
			out := make([]binding, len(run))
			for i, b := range run {
				out[i] = single(b)
			}
			return out
		}
	}
	return []binding{{
		bindIP: first.BindIP, protocol: first.Protocol,
		containerPorts: span(first.ContainerPort, last.ContainerPort), hostPortsRun: span(first.HostPort, last.HostPort),
	}}
}

func span(first, last uint16) string {
	return strconv.Itoa(int(first)) + "-" + strconv.Itoa(int(last))
}

// portRange is a range mapping of a container.
type portRange struct {
	first, last uint16
	protocol    task.Protocol
}

type rangeList []portRange

func (l rangeList) index(b task.PortBinding) int {
	return slices.IndexFunc(l, func(r portRange) bool {
		return b.Protocol == r.protocol && b.ContainerPort >= r.first && b.ContainerPort <= r.last
	})
}

func portRanges(c *task.Container) (out rangeList) {
	for _, p := range c.Ports {
		from, to, ok := strings.Cut(p.Range, "-")
		first, errFirst := strconv.ParseUint(from, 10, 16)
		last, errLast := strconv.ParseUint(to, 10, 16)
		if ok && errFirst == nil && errLast == nil {
			out = append(out, portRange{uint16(first), uint16(last), p.Protocol})
		}
	}
	return out
}

// cut shortens s to at most limit bytes without splitting a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
