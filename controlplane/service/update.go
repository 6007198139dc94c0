package service

import (
	"go.uber.org/zap"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// updated is an update on its way to an agent.
type updated struct {
	instance string
	update   wire.Update
}

func (s *Service) updateContainerAgent(in *api.UpdateContainerAgentRequest) (*api.ContainerInstanceResponse, error) {
	if s.opts.Update == nil {
		return nil, api.Errorf(api.NoUpdateAvailableException, "There is no update available for your container agent.")
	}
	u, err := s.opts.Update()
	if err != nil {
		return nil, err
	}
	out := new(api.ContainerInstanceResponse)
	err = s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		i, err := s.instance(in.ContainerInstance, c)
		switch {
		case err != nil:
			return err
		case i == nil:
			return api.Invalid("Container instance not found.")
		case !i.connected:
			return api.Client("The agent of the container instance is not connected.")
		case i.update == api.UpdatePending || i.update == api.UpdateStaged || i.update == api.UpdateUpdating:
			return api.Errorf(api.UpdateInProgressException, "There is an update already in progress.")
		}
		i.update = api.UpdatePending
		t.instanceChanged(i)
		t.batch.updates = append(t.batch.updates, updated{i.ARN, u})
		out.ContainerInstance = s.state.instanceView(i, true)
		return nil
	})
	return out, err
}

// UpdateStaged notes that an agent has an update and is told to perform it.
func (s *Service) UpdateStaged(instanceARN string) { s.noteUpdate(instanceARN, api.UpdateStaged) }

// UpdatePerforming notes that an agent makes room for another.
func (s *Service) UpdatePerforming(instanceARN string) {
	s.noteUpdate(instanceARN, api.UpdateUpdating)
}

// UpdateRefused notes that an agent does not take an update.
func (s *Service) UpdateRefused(instanceARN, reason string) {
	s.log.Warn("agent refused an update", zap.String("instance", instanceARN), zap.String("reason", reason))
	s.noteUpdate(instanceARN, api.UpdateFailed)
}

func (s *Service) noteUpdate(instanceARN, status string) {
	s.apply(func(t *tx) {
		if in := s.state.instances[instanceARN]; in != nil {
			in.update = status
			t.instanceChanged(in)
		}
	})
}
