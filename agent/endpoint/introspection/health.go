package introspection

import (
	"net/http"
	"time"

	"ecsagent/agent/doctor"
)

const healthPath = "/v1/health"

// Health is the body of /v1/health. The answer's status is 503 while the instance is
// impaired, else 200.
type Health struct {
	Status  string // INITIALIZING, OK or IMPAIRED
	At      time.Time
	Checks  []HealthCheck
	Summary string
}

// HealthCheck is one part of the instance.
type HealthCheck struct {
	Name     string
	Status   string // as above, or INSUFFICIENT_DATA
	Since    time.Time
	Checked  *time.Time `json:",omitempty"`
	Findings []HealthFinding
}

// HealthFinding is something that is wrong.
type HealthFinding struct {
	Code, Title, Severity, Text, Cause string
}

// NewHealth renders a report.
func NewHealth(r *doctor.Report) Health {
	h := Health{Status: string(r.Status()), At: r.At.UTC(), Summary: r.Summary(), Checks: []HealthCheck{}}
	for _, c := range r.Checks {
		check := HealthCheck{Name: c.Name, Status: string(c.Status), Since: c.Since.UTC(), Checked: moment(c.Checked), Findings: []HealthFinding{}}
		for _, f := range c.Findings {
			check.Findings = append(check.Findings, HealthFinding{f.Code, f.Title, string(f.Severity), f.Text, f.Cause})
		}
		h.Checks = append(h.Checks, check)
	}
	return h
}

func (o Options) health(w http.ResponseWriter, _ *http.Request) {
	report := o.Health()
	status := http.StatusOK
	if report.Status() == doctor.Impaired {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, NewHealth(report))
}
