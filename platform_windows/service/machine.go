package service

import "time"

// State is a state of a service; the values are those of Windows.
type State uint32

// The states that the agent goes through.
const (
	Stopped      State = 1
	StartPending State = 2
	StopPending  State = 3
	Running      State = 4
)

// Control is what the service control manager asks of a service; the values are those
// of Windows.
type Control uint32

// The controls that are answered; others are ignored.
const (
	Stop        Control = 1
	Interrogate Control = 4
	Shutdown    Control = 5
	PreShutdown Control = 15
)

// While the agent ends, the manager hears of it every Beat, and is told to be patient for
// a multiple of that.
const (
	Beat     = time.Second
	patience = 10 * Beat
)

// Exit codes of the agent that mean something to the manager (docs/spec/03 section 2.2).
const (
	exitOK       = 0
	exitTerminal = 5
)

// Report is what the manager is told.
type Report struct {
	State      State
	Accepts    bool   // stop, shutdown and preshutdown
	CheckPoint uint32 // grows while something is pending
	WaitHint   time.Duration
}

// Machine decides what the manager is told. The zero value is a service that starts.
type Machine struct {
	state      State
	checkPoint uint32
	asked      bool // to stop
}

// Report is where the service stands.
func (m *Machine) Report() Report {
	switch m.state {
	case Running:
		return Report{State: Running, Accepts: true}
	case StopPending:
		return Report{State: StopPending, CheckPoint: m.checkPoint, WaitHint: patience}
	case Stopped:
		return Report{State: Stopped}
	default:
		return Report{State: StartPending, CheckPoint: m.checkPoint, WaitHint: patience}
	}
}

// Started is called once the agent runs. The manager does not wait for its registration,
// which may take as long as AWS is out of reach.
func (m *Machine) Started() Report {
	m.state = Running
	return m.Report()
}

// Control answers the manager. The agent is to end if stop is true, which it is once.
func (m *Machine) Control(c Control) (r Report, stop bool) {
	switch c {
	case Stop, Shutdown, PreShutdown:
		if m.state != Running {
			break
		}
		m.state, m.asked, m.checkPoint = StopPending, true, 1
		return m.Report(), true
	case Interrogate:
	}
	return m.Report(), false
}

// Beat is called every Beat while the agent ends.
func (m *Machine) Beat() Report {
	if m.state == StopPending {
		m.checkPoint++
	}
	return m.Report()
}

// Ended is called when the agent has ended, with its exit code. The code that comes back
// decides whether the manager starts the agent again: with 0 it does not. An agent that
// was told to stop has stopped, whatever it could not finish; one that would end the same
// way again stays ended.
func (m *Machine) Ended(code int) (r Report, exit uint32) {
	m.state = Stopped
	switch {
	case m.asked, code == exitTerminal, code == exitOK:
		return m.Report(), exitOK
	case code < 0:
		return m.Report(), 1
	}
	return m.Report(), uint32(code)
}
