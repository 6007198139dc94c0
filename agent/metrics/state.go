package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"ecsagent/agent/doctor"
	"ecsagent/agent/task"
)

// Sources are where the state of the agent is read when Prometheus asks. None waits; a
// nil one is left out.
type Sources struct {
	Tasks     func() []*task.Snapshot
	Timelines func() []*task.Timeline
	// Connected tells of each channel, acs and tcs, whether there is a connection.
	Connected map[string]func() bool
	// Owed is for how many tasks the outbox has something to send.
	Owed func() int
	// CredentialSets counts credentials of roles, by whether they are valid.
	CredentialSets func() (valid, expired int)
	Health         func() *doctor.Report
}

// Read adds the state of the agent to what Prometheus is told. It is called once.
func (m *Meter) Read(s Sources) {
	if m != nil {
		m.registry.MustRegister(newState(s))
	}
}

// state collects what is, as it is at the time.
type state struct {
	from                                                                         Sources
	tasks, containers, waiting, connected, owed, credentials, health, conditions *prometheus.Desc
}

func newState(s Sources) *state {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("ecs_agent_"+name, help, labels, nil)
	}
	return &state{
		from:        s,
		tasks:       d("tasks", "Tasks by phase: pending, running, stopping or stopped.", "phase"),
		containers:  d("containers", "Containers of tasks by status.", "status"),
		waiting:     d("tasks_waiting", "Tasks that wait, by what for; a task may wait for several things.", "for"),
		connected:   d("connected", "Whether there is a connection to ECS, by channel.", "channel"),
		owed:        d("outbox_tasks", "Tasks with state changes that ECS has not accepted yet."),
		credentials: d("credentials", "Sets of credentials of roles, by status: valid or expired.", "status"),
		health:      d("health", "Whether a part of the instance is well: 1 yes, 0 impaired; absent where that is not known.", "check"),
		conditions:  d("condition", "Whether a condition of ecs-agent doctor holds.", "code", "severity"),
	}
}

// Describe implements prometheus.Collector.
func (s *state) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, out) }

// Collect implements prometheus.Collector.
func (s *state) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counts := func(d *prometheus.Desc, names []string, counted map[string]int) {
		for _, name := range names {
			gauge(d, float64(counted[name]), name)
		}
	}
	if s.from.Tasks != nil {
		tasks, containers := count(s.from.Tasks())
		counts(s.tasks, phases, tasks)
		counts(s.containers, containerStatuses, containers)
	}
	if s.from.Timelines != nil {
		counts(s.waiting, waits, waitCounts(s.from.Timelines()))
	}
	for channel, connected := range s.from.Connected {
		gauge(s.connected, truth(connected()), channel)
	}
	if s.from.Owed != nil {
		gauge(s.owed, float64(s.from.Owed()))
	}
	if s.from.CredentialSets != nil {
		valid, expired := s.from.CredentialSets()
		gauge(s.credentials, float64(valid), "valid")
		gauge(s.credentials, float64(expired), "expired")
	}
	if s.from.Health != nil {
		s.collectHealth(gauge)
	}
}

func (s *state) collectHealth(gauge func(*prometheus.Desc, float64, ...string)) {
	report := s.from.Health()
	for _, c := range report.Checks {
		if c.Status == doctor.OK || c.Status == doctor.Impaired {
			gauge(s.health, truth(c.Status == doctor.OK), c.Name)
		}
	}
	holds := make(map[*doctor.Condition]bool)
	for _, f := range report.Findings() {
		holds[f.Condition] = true
	}
	for _, c := range doctor.Conditions() {
		gauge(s.conditions, truth(holds[c]), c.Code, string(c.Severity))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// The values of the labels: every one is always there, so that a rate or a sum has no
// holes.
var (
	phases            = []string{"pending", "running", "stopping", "stopped"}
	containerStatuses = statusNames()
	waits             = []string{
		"resources", "dependency", "shutdown", "volume", "credentials", "docker", "state", "report", "image", "network", otherWait,
	}
)

// otherWait stands for waits that this package does not know.
const otherWait = "other"

func phase(s *task.State) string {
	switch {
	case s.Known == task.Stopped:
		return "stopped"
	case s.Desired == task.Stopped:
		return "stopping"
	case s.Known == task.Running:
		return "running"
	}
	return "pending"
}

func count(all []*task.Snapshot) (tasks, containers map[string]int) {
	tasks, containers = make(map[string]int), make(map[string]int)
	for _, s := range all {
		tasks[phase(&s.State)]++
		for i := range s.State.Containers {
			containers[label(s.State.Containers[i].Known.String())]++
		}
	}
	return tasks, containers
}

func waitCounts(all []*task.Timeline) map[string]int {
	counted := make(map[string]int)
	for _, t := range all {
		seen := make(map[string]bool)
		for _, w := range t.Waits {
			word := label(w.For)
			if !slices.Contains(waits, word) {
				word = otherWait
			}
			if !seen[word] {
				seen[word] = true
				counted[word]++
			}
		}
	}
	return counted
}

func statusNames() (names []string) {
	for s := task.ContainerNone; s <= task.ContainerStopped; s++ {
		names = append(names, label(s.String()))
	}
	return names
}

// label is a word as a label's value.
func label(word string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(word), " ", "_"), "-", "_")
}
