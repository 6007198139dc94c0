package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Meter counts. Its methods may be called from any goroutine, also on nil.
type Meter struct {
	registry     *prometheus.Registry
	calls        *prometheus.HistogramVec
	callErrors   *prometheus.CounterVec
	pulls        *prometheus.CounterVec
	pullSeconds  prometheus.Histogram
	credentials  *prometheus.CounterVec
	dials        *prometheus.CounterVec
	statuses     map[int]prometheus.Counter
	otherStatus  prometheus.Counter
	pulled, fail prometheus.Counter
}

// Buckets in seconds: a Docker call takes milliseconds when all is well and minutes
// when it is not; so do pulls, with more of the latter.
var (
	callBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 240}
	pullBuckets = []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800}
)

// New makes a meter. Version and commit are those of the program.
func New(version, commit string) *Meter {
	m := &Meter{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ecs_agent_docker_call_seconds", Help: "Time until Docker's answer to a call began.", Buckets: callBuckets,
		}, []string{"operation"}),
		callErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecs_agent_docker_call_errors_total", Help: "Docker calls without an answer, or with one of status 500 or more.",
		}, []string{"operation"}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecs_agent_image_pulls_total", Help: "Image pulls that ended, by result.",
		}, []string{"result"}),
		pullSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ecs_agent_image_pull_seconds", Help: "Time that image pulls took that succeeded.", Buckets: pullBuckets,
		}),
		credentials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecs_agent_credentials_requests_total", Help: "Requests of tasks for credentials, by status of the answer.",
		}, []string{"status"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ecs_agent_connection_attempts_total", Help: "Attempts to connect to ECS, by channel and result.",
		}, []string{"channel", "result"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ecs_agent_build_info", Help: "Which program this is; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit},
	})
	build.Set(1)
	m.pulled, m.fail = m.pulls.WithLabelValues("pulled"), m.pulls.WithLabelValues("failed")
	m.statuses = make(map[int]prometheus.Counter)
	for _, status := range []int{200, 400, 403, 404, 405, 429, 500, 503} {
		m.statuses[status] = m.credentials.WithLabelValues(strconv.Itoa(status))
	}
	m.otherStatus = m.credentials.WithLabelValues("other")
	m.registry.MustRegister(m.calls, m.callErrors, m.pulls, m.pullSeconds, m.credentials, m.dials, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// DockerCall counts a call to Docker. operation is one of docker.Operations.
func (m *Meter) DockerCall(operation string, took time.Duration, failed bool) {
	if m == nil {
		return
	}
	m.calls.WithLabelValues(operation).Observe(took.Seconds())
	if failed {
		m.callErrors.WithLabelValues(operation).Inc()
	}
}

// Pulled counts a pull that ended.
func (m *Meter) Pulled(took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.fail.Inc()
	default:
		m.pulled.Inc()
		m.pullSeconds.Observe(took.Seconds())
	}
}

// CredentialsServed counts an answer to a request for credentials.
func (m *Meter) CredentialsServed(status int) {
	if m == nil {
		return
	}
	if c, ok := m.statuses[status]; ok {
		c.Inc()
	} else {
		m.otherStatus.Inc()
	}
}

// Dialed counts an attempt to connect a channel, acs or tcs.
func (m *Meter) Dialed(channel string, err error) {
	if m == nil {
		return
	}
	result := "connected"
	if err != nil {
		result = "failed"
	}
	m.dials.WithLabelValues(channel, result).Inc()
}
