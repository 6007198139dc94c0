package service

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"go.uber.org/zap"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/telemetry"
)

// Values of a health status.
const (
	healthUnknown   = "UNKNOWN"
	healthHealthy   = "HEALTHY"
	healthUnhealthy = "UNHEALTHY"
)

// Metrics takes a message of the telemetry channel: the latest of each kind is kept
// (docs/spec/01 sections 4.4 to 4.6).
func (s *Service) Metrics(instanceARN, kind string, message json.RawMessage) {
	var err error
	switch kind {
	case telemetry.KindMetrics:
		err = s.usage.Take(instanceARN, message)
	case telemetry.KindHealth:
		err = s.taskHealth(instanceARN, message)
	case telemetry.KindInstanceStatus:
		err = s.instanceHealth(instanceARN, message)
	}
	if err != nil {
		s.log.Warn("telemetry message could not be read", zap.String("instance", instanceARN), zap.String("kind", kind), zap.Error(err))
	}
}

// Usage shows what agents told of the usage of tasks.
func (s *Service) Usage() []telemetry.Instance { return s.usage.Instances(time.Now()) }

func (s *Service) taskHealth(instanceARN string, message json.RawMessage) error {
	var m struct {
		Tasks []struct {
			TaskARN    string `json:"taskArn"`
			Containers []struct {
				ContainerName string `json:"containerName"`
				HealthStatus  string `json:"healthStatus"`
			} `json:"containers"`
		} `json:"tasks"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return err
	}
	s.apply(func(t *tx) {
		for _, report := range m.Tasks {
			tk := s.state.tasks[report.TaskARN]
			if tk == nil || tk.isStopped() || tk.Task.ContainerInstanceARN != instanceARN {
				continue
			}
			changed := false
			for _, c := range report.Containers {
				changed = tk.containerHealth(c.ContainerName, c.HealthStatus) || changed
			}
			if changed {
				tk.Task.HealthStatus = tk.health()
				t.taskChanged(tk)
			}
		}
	})
	return nil
}

func (tk *task) containerHealth(name, status string) bool {
	i := slices.IndexFunc(tk.Task.Containers, func(c api.Container) bool { return c.Name == name })
	if i < 0 || tk.Task.Containers[i].HealthStatus == status ||
		!slices.Contains([]string{healthUnknown, healthHealthy, healthUnhealthy}, status) {
		return false
	}
	tk.Task.Containers[i].HealthStatus = status
	return true
}

// health is the task's health: the worst of its essential containers that have a
// check.
func (tk *task) health() string {
	worst := ""
	for i, c := range tk.Task.Containers {
		if !tk.Essential[i] || !tk.Checked[i] {
			continue
		}
		switch {
		case c.HealthStatus == healthUnhealthy:
			return healthUnhealthy
		case worst == "" || c.HealthStatus == healthUnknown:
			worst = c.HealthStatus
		}
	}
	return cmp.Or(worst, healthUnknown)
}

func (s *Service) instanceHealth(instanceARN string, message json.RawMessage) error {
	var m struct {
		Statuses []api.InstanceHealthDetail `json:"statuses"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return err
	}
	s.quietly(func(st *state) {
		in := st.instances[instanceARN]
		if in == nil {
			return
		}
		in.health = &api.InstanceHealth{OverallStatus: "OK", Details: []api.InstanceHealthDetail{}}
		for _, d := range m.Statuses {
			if d.Type == "ContainerRuntime" {
				d.Type = "CONTAINER_RUNTIME"
			}
			if d.Status != "OK" && in.health.OverallStatus != "IMPAIRED" {
				in.health.OverallStatus = d.Status
			}
			in.health.Details = append(in.health.Details, d)
		}
	})
	return nil
}
