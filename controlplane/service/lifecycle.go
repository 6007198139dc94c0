package service

import (
	"cmp"
	"slices"
	"strings"

	"go.uber.org/zap"

	"ecsagent/controlplane/api"
)

// Values of a task's connectivity.
const (
	connected    = "CONNECTED"
	disconnected = "DISCONNECTED"
)

// Reasons that ECS composes itself.
const (
	reasonUser      = "Task stopped by user"
	reasonEssential = "Essential container in task exited"
	reasonNoStart   = "Task failed to start"
)

// order of a task's statuses; a task never goes backwards.
var taskOrder = []string{
	api.StatusProvisioning, api.StatusPending, api.StatusActivating, api.StatusRunning,
	api.StatusDeactivating, api.StatusStopping, api.StatusDeprovisioning, api.StatusStopped,
}

// order of a container's statuses.
var containerOrder = []string{api.StatusPending, api.StatusRunning, api.StatusStopped}

// advance moves the task to a later status; earlier ones change nothing.
func (t *tx) advance(tk *task, status string) {
	if slices.Index(taskOrder, status) <= slices.Index(taskOrder, tk.Task.LastStatus) {
		return
	}
	tk.Task.LastStatus = status
	t.taskChanged(tk)
	t.s.log.Debug("task status", zap.String("task", tk.Task.TaskARN), zap.String("status", status))
}

// stop makes STOPPED the desired status. The first cause counts.
func (t *tx) stop(tk *task, code, reason string) {
	if tk.Task.DesiredStatus == api.StatusStopped {
		return
	}
	tk.Task.DesiredStatus = api.StatusStopped
	tk.Task.StopCode, tk.Task.StoppedReason = code, reason
	tk.Task.StoppingAt = api.At(t.now)
	t.taskChanged(tk)
}

// started notes that the agent says RUNNING. A task that is already being stopped
// stays so.
func (t *tx) started(tk *task) {
	if tk.Task.StartedAt.IsZero() {
		tk.Task.StartedAt = api.At(t.now)
		t.saveTask(tk)
	}
	t.advance(tk, api.StatusActivating)
	t.advance(tk, api.StatusRunning)
}

// finishTask ends the task for good and gives its resources back. reason is the
// agent's, if it has one for the whole task.
func (t *tx) finishTask(tk *task, reason string) {
	if tk.isStopped() {
		return
	}
	code, why := tk.cause(reason)
	t.stop(tk, code, why)
	for i := range tk.Task.Containers {
		tk.Task.Containers[i].LastStatus = api.StatusStopped
	}
	t.advance(tk, api.StatusDeprovisioning)
	tk.Task.StoppedAt = api.At(t.now)
	tk.Payload = nil // never sent again
	t.detach(tk)
	t.advance(tk, api.StatusStopped)
	st := &t.s.state
	if in := st.instances[tk.Task.ContainerInstanceARN]; in != nil {
		delete(in.tasks, tk.Task.TaskARN)
	}
	st.stopped = append(st.stopped, tk)
	t.s.log.Info("task stopped", zap.String("task", tk.Task.TaskARN), zap.String("code", tk.Task.StopCode), zap.String("reason", tk.Task.StoppedReason))
}

// cause tells why a task stops that nobody has asked to stop.
func (tk *task) cause(agentReason string) (code, reason string) {
	ran := !tk.Task.StartedAt.IsZero()
	for i, c := range tk.Task.Containers {
		ran = ran || tk.Essential[i] && c.ExitCode != nil && c.RuntimeID != "" && !strings.HasPrefix(c.Reason, "Cannot")
	}
	code, reason = api.StopFailedToStart, reasonNoStart
	if ran {
		code, reason = api.StopEssentialExited, reasonEssential
	}
	return code, cmp.Or(agentReason, reason)
}

// observe takes over what an agent reports of one container. It reports whether
// users see a difference. Known values are never replaced by older or empty ones.
func (tk *task) observe(change *api.ContainerStateChange) (changed bool, known bool) {
	i := slices.IndexFunc(tk.Task.Containers, func(c api.Container) bool { return c.Name == change.ContainerName })
	if i < 0 {
		return false, false
	}
	c := &tk.Task.Containers[i]
	before := *c
	later := slices.Index(containerOrder, change.Status) >= slices.Index(containerOrder, c.LastStatus)
	if later && slices.Contains(containerOrder, change.Status) {
		c.LastStatus = change.Status
	}
	if c.RuntimeID == "" || later && change.RuntimeID != "" {
		c.RuntimeID = change.RuntimeID
	}
	c.ImageDigest = cmp.Or(c.ImageDigest, change.ImageDigest)
	c.Reason = cmp.Or(c.Reason, change.Reason)
	if c.ExitCode == nil {
		c.ExitCode = change.ExitCode
	}
	bindings := false
	if len(change.NetworkBindings) > 0 && (later || len(c.NetworkBindings) == 0) && !slices.Equal(c.NetworkBindings, change.NetworkBindings) {
		c.NetworkBindings = slices.Clone(change.NetworkBindings)
		bindings = true
	}
	return bindings || before.LastStatus != c.LastStatus || before.RuntimeID != c.RuntimeID || before.ImageDigest != c.ImageDigest ||
		before.Reason != c.Reason || before.ExitCode != c.ExitCode, true
}

// essentialGone reports whether a container has stopped without which the task
// cannot go on.
func (tk *task) essentialGone() bool {
	for i, c := range tk.Task.Containers {
		if tk.Essential[i] && c.LastStatus == api.StatusStopped {
			return true
		}
	}
	return false
}
