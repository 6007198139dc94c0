package service

import (
	"slices"

	"ecsagent/controlplane/api"
)

// acknowledged answers every report that is understood.
var acknowledged = api.Acknowledgment{Acknowledgment: "ok"}

// submitTaskStateChange takes an agent's report of a task. Repeated and reordered
// reports are taken as often as they come; what is older than what is known
// changes nothing.
func (s *Service) submitTaskStateChange(in *api.SubmitTaskStateChangeRequest) (*api.Acknowledgment, error) {
	if !slices.Contains([]string{"", api.StatusPending, api.StatusRunning, api.StatusStopped}, in.Status) {
		return nil, api.Invalid("Invalid status '%s'.", clip(in.Status))
	}
	ack := acknowledged
	return &ack, s.update(func(t *tx) error {
		tk, err := s.reported(in.Task)
		if err != nil {
			return err
		}
		t.report(tk, in)
		return nil
	})
}

// reported finds the task of a report. Agents drop a report that is answered with
// InvalidParameterException, which is right for a task that is forgotten here.
func (s *Service) reported(arn string) (*task, error) {
	tk := s.state.tasks[arn]
	if tk == nil {
		return nil, api.Invalid("The referenced task was not found.")
	}
	return tk, nil
}

func (t *tx) report(tk *task, in *api.SubmitTaskStateChangeRequest) {
	for _, a := range in.Attachments {
		t.attached(tk, a)
	}
	changed := tk.times(in)
	for i := range in.Containers {
		c, _ := tk.observe(&in.Containers[i])
		changed = changed || c
	}
	for i := range in.ManagedAgents {
		changed = t.observeManaged(tk, &in.ManagedAgents[i]) || changed
	}
	if changed {
		t.taskChanged(tk)
	}
	switch in.Status {
	case api.StatusPending:
		t.advance(tk, api.StatusActivating)
	case api.StatusRunning:
		t.started(tk)
	case api.StatusStopped:
		t.finishTask(tk, in.Reason)
		return
	}
	t.stopWithoutEssential(tk)
}

// stopWithoutEssential notes that the task ends because an essential container
// has. The agent stops the rest by itself.
func (t *tx) stopWithoutEssential(tk *task) {
	if tk.isStopped() || !tk.essentialGone() {
		return
	}
	code, reason := tk.cause("")
	t.stop(tk, code, reason)
	t.advance(tk, api.StatusStopping)
}

// times takes over a report's times, the first of each.
func (tk *task) times(in *api.SubmitTaskStateChangeRequest) (changed bool) {
	set := func(known *api.Time, reported api.Time) {
		if known.IsZero() && !reported.IsZero() {
			*known = reported
			changed = true
		}
	}
	set(&tk.Task.PullStartedAt, in.PullStartedAt)
	set(&tk.Task.PullStoppedAt, in.PullStoppedAt)
	set(&tk.Task.ExecutionStoppedAt, in.ExecutionStoppedAt)
	return changed
}

func (t *tx) observeManaged(tk *task, m *api.ManagedAgentStateChange) bool {
	i := slices.IndexFunc(tk.Task.Containers, func(c api.Container) bool { return c.Name == m.ContainerName })
	if i < 0 {
		return false
	}
	c := &tk.Task.Containers[i]
	agents := slices.Clone(c.ManagedAgents)
	j := slices.IndexFunc(agents, func(a api.ManagedAgent) bool { return a.Name == m.ManagedAgentName })
	if j < 0 {
		j = len(agents)
		agents = append(agents, api.ManagedAgent{Name: m.ManagedAgentName})
	}
	status := m.Status
	if status == "CREATED" { // agents name the status as it is inside
		status = api.StatusPending
	}
	a := &agents[j]
	if a.LastStatus == status && a.Reason == m.Reason {
		return false
	}
	if status == api.StatusRunning && a.LastStatus != status {
		a.LastStartedAt = api.At(t.now)
	}
	a.LastStatus, a.Reason = status, m.Reason
	c.ManagedAgents = agents
	return true
}

func (s *Service) submitContainerStateChange(in *api.SubmitContainerStateChangeRequest) (*api.Acknowledgment, error) {
	ack := acknowledged
	return &ack, s.update(func(t *tx) error {
		tk, err := s.reported(in.Task)
		if err != nil {
			return err
		}
		changed, known := tk.observe(&in.ContainerStateChange)
		if !known {
			return api.Invalid("The referenced container was not found.")
		}
		if changed {
			t.taskChanged(tk)
		}
		t.stopWithoutEssential(tk)
		return nil
	})
}

// submitAttachmentStateChanges takes reports of volumes. One of an attachment that is not
// known, or of a task that has stopped, changes nothing.
func (s *Service) submitAttachmentStateChanges(in *api.SubmitAttachmentStateChangesRequest) (*api.Acknowledgment, error) {
	ack := acknowledged
	return &ack, s.update(func(t *tx) error {
		for _, a := range in.Attachments {
			for _, instance := range s.state.instances {
				for _, tk := range instance.tasks {
					if tk.Disk != nil && tk.Disk.Attachment.ARN == a.AttachmentARN {
						t.attached(tk, a)
					}
				}
			}
		}
		return nil
	})
}
