package task

import (
	"fmt"
	"slices"
	"time"
)

// ExecAgentName is the managed agent of ECS Exec (docs/spec/02 section 10.1); there is no
// other one.
const ExecAgentName = "ExecuteCommandAgent"

// AgentStatus is the status of a managed agent.
type AgentStatus uint8

// Statuses of managed agents. Unlike those of containers they go back and forth.
const (
	AgentNone    AgentStatus = 0 // not started yet; never reported
	AgentRunning AgentStatus = 2
	AgentStopped AgentStatus = 3
)

var agentStatusNames = map[AgentStatus]string{AgentNone: "NONE", AgentRunning: "RUNNING", AgentStopped: "STOPPED"}

// String returns the name that ECS uses.
func (s AgentStatus) String() string { return nameOf(agentStatusNames, s) }

// MarshalText implements encoding.TextMarshaler.
func (s AgentStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *AgentStatus) UnmarshalText(text []byte) error {
	for status, n := range agentStatusNames {
		if n == string(text) {
			*s = status
			return nil
		}
	}
	return fmt.Errorf("unrecognized managed agent status %q", text)
}

// ExecAgent returns what ECS asks of the container's exec agent, nil when it has none.
func (c *Container) ExecAgent() *ManagedAgent {
	i := slices.IndexFunc(c.ManagedAgents, func(m ManagedAgent) bool { return m.Name == ExecAgentName })
	if i < 0 {
		return nil
	}
	return &c.ManagedAgents[i]
}

// AgentSetup is how a container's exec agent is started, or why it cannot be.
type AgentSetup struct {
	Command []string
	User    string
	Problem string // what it needs could not be put in place
}

// ExecAgent is what is known of the exec agent of a container. Snapshots share it: it is
// replaced, never changed.
type ExecAgent struct {
	AgentSetup
	Status AgentStatus
	Reason string // as ECS shows it

	ExecID    string    `json:",omitempty"` // of the runtime
	PID       int       `json:",omitempty"` // on the host
	StartedAt time.Time `json:",omitzero"`  // last start

	// LookAt is when it is started, or looked at, again; zero, as after a restart of the
	// agent, means now.
	LookAt time.Time `json:"-"`
	// Applied says that it is being started or looked at.
	Applied bool `json:"-"`
	// Deaths counts how often in a row it ended soon after its start.
	Deaths int `json:"-"`
}

// How an exec agent is looked after. One that ends is started again after the first
// pause, twice that when it ends soon again, and so on up to the period in which one
// that nothing is heard of is looked at (docs/spec/02 section 10.1).
const (
	agentPeriod     = 15 * time.Minute
	agentFirstPause = time.Second
)

// Reasons that ECS shows of an exec agent.
const (
	agentStarted          = ExecAgentName + " started"
	agentRestarted        = ExecAgentName + " restarted"
	agentCannotRestart    = ExecAgentName + " cannot be restarted: "
	agentNotInitialized   = ExecAgentName + " Initialization failed - "
	agentContainerStopped = "Received Container Stopped event"
)

// AgentRun is what a step found of an exec agent that runs.
type AgentRun struct {
	ExecID string
	PID    int
}

// AgentExit says that an exec agent has ended.
type AgentExit struct {
	Container int
	ExecID    string
	ExitCode  *int
}

// AgentLook has an exec agent looked at, for its end may have been missed.
type AgentLook struct{ Container int }

func (AgentExit) event() {}
func (AgentLook) event() {}

// agents plans the start, or a look at, exec agents. They hold nothing up and wait for
// nothing but their container.
func (p *planner) agents() {
	for i := range p.spec.Containers {
		c := &p.st.Containers[i]
		a := c.ExecAgent
		switch {
		case a == nil, a.Problem != "", a.Applied, !c.agentMayRun(), c.Applied != ContainerNone:
		case a.LookAt.After(p.now):
			p.wake(a.LookAt)
		default:
			p.step(Step{Kind: StepAgent, Container: i})
		}
	}
}

func (c *ContainerState) agentMayRun() bool {
	return c.Known.IsRunning() && c.Desired != ContainerStopped && !c.Restarting
}

// setUpAgents takes over how the exec agents of containers that have not run are started.
func (a *applier) setUpAgents(agents map[string]AgentSetup) {
	for name, setup := range agents {
		i := a.spec.Index(name)
		if i < 0 || a.st.Containers[i].Known >= ContainerRunning {
			continue
		}
		next := &ExecAgent{AgentSetup: setup}
		if setup.Problem != "" {
			next.Status, next.Reason = AgentStopped, agentNotInitialized+setup.Problem
		}
		a.st.Containers[i].ExecAgent = next
	}
}

// changeAgent replaces what is known of a container's exec agent.
func (c *ContainerState) changeAgent(change func(*ExecAgent)) {
	if c.ExecAgent == nil {
		return
	}
	next := *c.ExecAgent
	change(&next)
	c.ExecAgent = &next
}

// stopAgent: an exec agent ends with its container.
func (c *ContainerState) stopAgent() {
	if c.ExecAgent == nil || c.ExecAgent.Problem != "" {
		return
	}
	c.changeAgent(func(g *ExecAgent) {
		g.Status, g.Reason = AgentStopped, agentContainerStopped
		g.LookAt, g.Deaths = time.Time{}, 0
	})
}

func (a *applier) doneAgent(d *Done) {
	c := &a.st.Containers[d.Step.Container]
	c.changeAgent(func(g *ExecAgent) {
		g.Applied = false
		switch {
		case !c.agentMayRun():
		case d.Agent != nil && d.Agent.ExecID == g.ExecID && g.Status == AgentRunning:
			g.LookAt = a.now.Add(agentPeriod)
		case d.Agent != nil:
			g.Reason = agentStarted
			if !g.StartedAt.IsZero() {
				g.Reason = agentRestarted
			}
			g.Status, g.ExecID, g.PID, g.StartedAt = AgentRunning, d.Agent.ExecID, d.Agent.PID, a.now
			g.LookAt = a.now.Add(agentPeriod)
		case d.Err != nil && !d.Uncertain:
			g.Reason = d.Err.Message
			if !g.StartedAt.IsZero() {
				g.Reason = agentCannotRestart + d.Err.Message
			}
			g.Status, g.PID, g.LookAt = AgentStopped, 0, a.now.Add(agentPeriod)
		default: // it could not be looked at: what was known stays
			g.LookAt = a.now.Add(agentPeriod)
		}
	})
}

func (a *applier) agentExit(e *AgentExit) {
	c := &a.st.Containers[e.Container]
	if g := c.ExecAgent; g == nil || g.Status != AgentRunning || g.ExecID != e.ExecID || c.Desired == ContainerStopped {
		return // of a container that is being stopped, its end will be told
	}
	c.changeAgent(func(g *ExecAgent) {
		if a.now.Sub(g.StartedAt) >= agentPeriod {
			g.Deaths = 0
		}
		g.Status, g.PID, g.Reason = AgentStopped, 0, AgentExited(e.ExitCode)
		g.LookAt = a.now.Add(min(agentFirstPause<<min(g.Deaths, 10), agentPeriod))
		g.Deaths++
	})
}

func (a *applier) agentLook(i int) {
	if g := a.st.Containers[i].ExecAgent; g == nil || g.Status != AgentRunning {
		return
	}
	a.st.Containers[i].changeAgent(func(g *ExecAgent) { g.LookAt = time.Time{} })
}

// AgentExited is how ECS is told that an exec agent ended.
func AgentExited(code *int) string {
	if code == nil {
		return ExecAgentName + " process exited"
	}
	return fmt.Sprintf("%s process exited with exit code: %d", ExecAgentName, *code)
}

// AgentReport is what ECS has accepted of a managed agent.
type AgentReport struct {
	Status AgentStatus
	Reason string `json:",omitempty"`
}

// Report is what ECS should know of the exec agent; ok is false when there is nothing.
func (g *ExecAgent) Report() (r AgentReport, ok bool) {
	if g == nil || g.Status == AgentNone {
		return AgentReport{}, false
	}
	return AgentReport{Status: g.Status, Reason: g.Reason}, true
}

// Same reports whether nothing differs that must not be lost.
func (g *ExecAgent) Same(other *ExecAgent) bool {
	if g == nil || other == nil {
		return g == other
	}
	return g.Status == other.Status && g.Reason == other.Reason && g.ExecID == other.ExecID
}
