package service

import (
	"time"

	"go.uber.org/zap"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// The methods of this file are what the agent link asks and tells.

// Authorize refuses an instance that may not open a channel, with a
// *wire.Exception (docs/spec/01 section 2.6).
func (s *Service) Authorize(instanceARN, clusterRef string) error {
	return s.read(func(st *state) error {
		in := st.instances[instanceARN]
		switch {
		case in == nil:
			return &wire.Exception{Type: wire.InactiveInstance, Message: "The container instance is not known."}
		case in.Status == api.StatusInactive:
			return &wire.Exception{Type: wire.InactiveInstance, Message: "The container instance is not active."}
		}
		if name, err := clusterName(clusterRef); err != nil || name != in.Cluster {
			return &wire.Exception{Type: wire.InvalidCluster, Message: "The container instance is not in cluster " + clip(clusterRef) + "."}
		}
		return nil
	})
}

// Connected notes whether an agent's work channel is open.
func (s *Service) Connected(instanceARN string, up bool, agentVersion, agentHash, dockerVersion string) {
	s.apply(func(t *tx) {
		in := s.state.instances[instanceARN]
		if in == nil || in.Status == api.StatusInactive {
			return
		}
		info := api.VersionInfo{AgentVersion: agentVersion, AgentHash: agentHash, DockerVersion: dockerVersion}
		if in.connected == up && in.VersionInfo == info {
			return
		}
		if in.connected && !up {
			in.left = t.now
		}
		if up && in.update == api.UpdateUpdating {
			in.update = api.UpdateUpdated
			if in.VersionInfo.AgentVersion == info.AgentVersion && in.VersionInfo.AgentHash == info.AgentHash {
				in.update = api.UpdateFailed
			}
		}
		in.connected, in.VersionInfo = up, info
		t.instanceChanged(in)
		for _, tk := range in.live() {
			tk.Task.Connectivity = disconnected
			if up {
				tk.Task.Connectivity, tk.Task.ConnectivityAt = connected, api.At(t.now)
			}
			t.taskChanged(tk)
		}
	})
}

// FullSync reports whether the instance's agent understands manifests.
func (s *Service) FullSync(instanceARN string) bool {
	found := false
	s.quietly(func(st *state) {
		if in := st.instances[instanceARN]; in != nil {
			_, found = in.Attributes[attributeFullSync]
		}
	})
	return found
}

// Manifest lists the instance's tasks and what should become of them.
func (s *Service) Manifest(instanceARN string) []wire.TaskIdentifier {
	list := []wire.TaskIdentifier{}
	s.quietly(func(st *state) {
		if in := st.instances[instanceARN]; in != nil {
			for _, tk := range in.live() {
				list = append(list, wire.TaskIdentifier{TaskARN: tk.Task.TaskARN, TaskClusterARN: tk.Task.ClusterARN, DesiredStatus: tk.Task.DesiredStatus})
			}
		}
	})
	return list
}

// ShouldStop returns the candidates that should not run on the instance. Names
// that are not tasks of ECS are the agent's own business.
func (s *Service) ShouldStop(instanceARN string, candidates []wire.TaskIdentifier) []wire.TaskIdentifier {
	list := []wire.TaskIdentifier{}
	s.quietly(func(st *state) {
		in := st.instances[instanceARN]
		for _, c := range candidates {
			kind, parts, ok := splitARN(c.TaskARN)
			if !ok || kind != "task" || len(parts) > 2 {
				continue
			}
			if in != nil && in.tasks[c.TaskARN] != nil && in.tasks[c.TaskARN].Task.DesiredStatus == api.StatusRunning {
				continue
			}
			c.DesiredStatus = api.StatusStopped
			list = append(list, c)
		}
	})
	return list
}

// Credentials lists the role credentials of the instance's tasks.
func (s *Service) Credentials(instanceARN string) []wire.CredentialsMessage {
	list := []wire.CredentialsMessage{}
	s.quietly(func(st *state) {
		in := st.instances[instanceARN]
		if in == nil {
			return
		}
		for _, tk := range in.live() {
			if tk.provisioning() {
				continue // its payload, which has not been sent, carries them
			}
			role, execution := s.taskCredentials(tk, s.opts.Now())
			if role != nil {
				list = append(list, wire.CredentialsMessage{TaskARN: tk.Task.TaskARN, TaskClusterARN: tk.Task.ClusterARN,
					RoleType: wire.RoleTaskApplication, RoleCredentials: *role})
			}
			if execution != nil {
				list = append(list, wire.CredentialsMessage{TaskARN: tk.Task.TaskARN, TaskClusterARN: tk.Task.ClusterARN,
					RoleType: wire.RoleTaskExecution, RoleCredentials: *execution})
			}
		}
	})
	return list
}

// taskCredentials makes the credentials of the task's roles; nil for a role that
// it has not. They are renewed at half of their life: the expiration moves in
// steps, so that whoever asks in between gets the same set.
func (s *Service) taskCredentials(tk *task, now time.Time) (role, execution *wire.RoleCredentials) {
	life := s.opts.CredentialsLife
	expiration := now.UTC().Truncate(life / 2).Add(life).Truncate(time.Second).Format(time.RFC3339)
	set := func(id, arn string) *wire.RoleCredentials {
		if id == "" {
			return nil
		}
		k := s.opts.keysFor(id, expiration)
		return &wire.RoleCredentials{CredentialsID: id, RoleARN: arn, AccessKeyID: k.AccessKeyID,
			SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken, Expiration: expiration}
	}
	return set(tk.RoleID, tk.RoleARN), set(tk.ExecutionID, tk.ExecutionARN)
}

// PayloadAcked notes that an agent has taken a payload.
func (s *Service) PayloadAcked(_, messageID string) {
	s.apply(func(t *tx) {
		st := &s.state
		marks, ok := st.inFlight[messageID]
		if !ok {
			if len(st.early) >= maxEarly {
				clear(st.early)
			}
			st.early[messageID] = true
			return
		}
		delete(st.inFlight, messageID)
		t.ackAll(marks)
	})
}

func (t *tx) ackAll(marks []mark) {
	for _, m := range marks {
		tk := t.s.state.tasks[m.task]
		if tk == nil {
			continue
		}
		tk.AckedRunning = true
		if m.desired == api.StatusStopped {
			tk.AckedStopping = true
			t.advance(tk, api.StatusStopping)
		}
		t.saveTask(tk)
	}
}

// PayloadNacked ends the tasks that an agent refuses to take.
func (s *Service) PayloadNacked(instanceARN, messageID, reason string) {
	s.log.Warn("agent refused a payload", zap.String("instance", instanceARN), zap.String("reason", reason))
	s.apply(func(t *tx) {
		marks := s.state.inFlight[messageID]
		delete(s.state.inFlight, messageID)
		for _, m := range marks {
			if tk := s.state.tasks[m.task]; tk != nil && m.desired == api.StatusRunning && tk.Task.StartedAt.IsZero() {
				t.finishTask(tk, "Agent refused the task: "+clip(reason))
			}
		}
	})
}

// quietly runs fn under the lock, for what needs no batch.
func (s *Service) quietly(fn func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.state)
}
