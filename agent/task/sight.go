package task

import "strings"

// maxHealthOutput limits what is kept of a health probe (docs/spec/02 section 2.6.1).
const maxHealthOutput = 1024

// merge copies what an inspect shows (docs/spec/02 section 2.6.1).
func (a *applier) merge(i int, s *Sight) {
	if s == nil {
		return
	}
	c := &a.st.Containers[i]
	if c.RuntimeID == "" && s.RuntimeID != "" {
		c.RuntimeID = s.RuntimeID
		if s.Name != "" {
			c.DockerName = s.Name
		}
	}
	if c.ImageID == "" {
		c.ImageID = s.ImageID
	}
	if !s.CreatedAt.IsZero() {
		c.CreatedAt = s.CreatedAt
	}
	if c.StartedAt.IsZero() {
		c.StartedAt = s.StartedAt
	}
	if s.FinishedAt.After(c.FinishedAt) {
		c.FinishedAt = s.FinishedAt
	}
	if s.ExitCode != nil {
		c.ExitCode = s.ExitCode
	}
	if len(c.Bindings) == 0 {
		c.Bindings = s.Bindings
	}
	if len(s.Networks) > 0 {
		c.Networks = s.Networks
	}
	if len(s.Mounts) > 0 {
		c.Mounts = s.Mounts
	}
	if len(c.Labels) == 0 {
		c.Labels = s.Labels
	}
	c.HasHealthCheck = c.HasHealthCheck || s.HasHealthCheck
	if s.Health == HealthUnhealthy && s.Health != c.Health && reportsHealth(&a.spec.Containers[i]) {
		c.HealthExitCode = s.HealthExitCode
	}
	if s.HasHealthCheck && !s.HealthStarting {
		a.health(i, s.Health, s.HealthOutput)
	}
}

// health takes a probe's verdict for a container whose health ECS asked for.
func (a *applier) health(i int, h Health, output string) {
	c := &a.st.Containers[i]
	if !reportsHealth(&a.spec.Containers[i]) {
		return
	}
	if len(output) > maxHealthOutput {
		output = strings.ToValidUTF8(output[:maxHealthOutput], "")
	}
	if output != "" {
		c.HealthOutput = output
	}
	if h != HealthUnknown && h != c.Health {
		c.Health, c.HealthSince = h, a.now
	}
}
