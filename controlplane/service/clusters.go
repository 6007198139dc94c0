package service

import (
	"encoding/json"
	"slices"
	"strconv"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/taskdef"
)

func (s *Service) createCluster(in *api.CreateClusterRequest) (*api.ClusterResponse, error) {
	name := in.ClusterName
	if name == "" {
		name = "default"
	}
	if !nameForm.MatchString(name) {
		return nil, api.Invalid("Invalid cluster name '%s': up to 255 letters, numbers, hyphens and underscores are allowed, a letter first.", clip(name))
	}
	if len(in.CapacityProviders) > 0 {
		return nil, api.Errorf(api.UnsupportedFeatureException, "The local ECS does not support capacity providers.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	out := new(api.ClusterResponse)
	err := s.update(func(t *tx) error {
		c := s.state.clusters[name]
		if c == nil || c.Status != api.StatusActive {
			c = &cluster{Name: name, ARN: s.arn("cluster", name), Status: api.StatusActive,
				Settings: in.Settings, Configuration: in.Configuration, Tags: in.Tags}
			if len(c.Settings) == 0 {
				c.Settings = []api.ClusterSetting{{Name: "containerInsights", Value: "disabled"}}
			}
			s.state.clusters[name] = c
			t.saveCluster(c)
		}
		out.Cluster = s.state.clusterView(c, []string{"TAGS", "SETTINGS", "CONFIGURATIONS"})
		return nil
	})
	return out, err
}

// clusterView shows a cluster with its counts.
func (st *state) clusterView(c *cluster, include []string) api.Cluster {
	v := api.Cluster{
		ClusterARN: c.ARN, ClusterName: c.Name, Status: c.Status, Statistics: []api.KeyValue{}, Tags: []api.Tag{},
		Settings: []api.ClusterSetting{}, CapacityProviders: []string{}, DefaultCapacityStrategies: []json.RawMessage{},
	}
	for _, in := range st.instances {
		if in.Cluster == c.Name && in.Status != api.StatusInactive {
			v.RegisteredInstancesCount++
			running, pending := in.counts()
			v.RunningTasksCount += running
			v.PendingTasksCount += pending
		}
	}
	if slices.Contains(include, "TAGS") {
		v.Tags = append(v.Tags, c.Tags...)
	}
	if slices.Contains(include, "SETTINGS") {
		v.Settings = append(v.Settings, c.Settings...)
	}
	if slices.Contains(include, "CONFIGURATIONS") {
		v.Configuration = c.Configuration
	}
	if slices.Contains(include, "STATISTICS") {
		v.Statistics = append(v.Statistics,
			api.KeyValue{Name: "runningEC2TasksCount", Value: strconv.Itoa(v.RunningTasksCount)},
			api.KeyValue{Name: "runningFargateTasksCount", Value: "0"},
			api.KeyValue{Name: "pendingEC2TasksCount", Value: strconv.Itoa(v.PendingTasksCount)},
			api.KeyValue{Name: "pendingFargateTasksCount", Value: "0"},
			api.KeyValue{Name: "activeEC2ServiceCount", Value: "0"},
			api.KeyValue{Name: "activeFargateServiceCount", Value: "0"},
			api.KeyValue{Name: "drainingEC2ServiceCount", Value: "0"},
			api.KeyValue{Name: "drainingFargateServiceCount", Value: "0"})
	}
	return v
}

func (s *Service) describeClusters(in *api.DescribeClustersRequest) (*api.DescribeClustersResponse, error) {
	refs := in.Clusters
	if len(refs) == 0 {
		refs = []string{"default"}
	}
	if len(refs) > maxPage {
		return nil, api.Invalid("Clusters can have at most %d items.", maxPage)
	}
	out := &api.DescribeClustersResponse{Clusters: []api.Cluster{}, Failures: []api.Failure{}}
	err := s.read(func(st *state) error {
		for _, ref := range refs {
			name, err := clusterName(ref)
			if err != nil {
				return err
			}
			if c := st.clusters[name]; c != nil {
				out.Clusters = append(out.Clusters, st.clusterView(c, in.Include))
			} else {
				out.Failures = append(out.Failures, api.Failure{ARN: s.arn("cluster", name), Reason: api.ReasonMissing})
			}
		}
		return nil
	})
	return out, err
}

func (s *Service) listClusters(in *api.Page) (*api.ListClustersResponse, error) {
	out := new(api.ListClustersResponse)
	err := s.read(func(st *state) (err error) {
		var list []entry
		for _, c := range st.clusters {
			if c.Status == api.StatusActive {
				list = append(list, entry{c.ARN, c.ARN})
			}
		}
		out.ClusterARNs, out.NextToken, err = page(list, *in, false)
		return err
	})
	return out, err
}

func (s *Service) deleteCluster(in *api.DeleteClusterRequest) (*api.ClusterResponse, error) {
	if in.Cluster == "" {
		return nil, api.Invalid("Cluster can not be blank.")
	}
	out := new(api.ClusterResponse)
	err := s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		v := s.state.clusterView(c, nil)
		switch {
		case v.RegisteredInstancesCount > 0:
			return api.Errorf(api.ClusterContainsContainerInstancesException, "The Cluster cannot be deleted while Container Instances are active or draining.")
		case v.RunningTasksCount+v.PendingTasksCount > 0:
			return api.Errorf(api.ClusterContainsTasksException, "The Cluster cannot be deleted while Tasks are active.")
		}
		c.Status = api.StatusInactive
		t.saveCluster(c)
		out.Cluster = s.state.clusterView(c, nil)
		return nil
	})
	return out, err
}

func (s *Service) describeCapacityProviders(in *api.DescribeCapacityProvidersRequest) (*api.DescribeCapacityProvidersResponse, error) {
	out := &api.DescribeCapacityProvidersResponse{CapacityProviders: []json.RawMessage{}, Failures: []api.Failure{}}
	for _, name := range in.CapacityProviders {
		out.Failures = append(out.Failures, api.Failure{ARN: name, Reason: api.ReasonMissing})
	}
	return out, nil
}

func (s *Service) listServices(in *api.ListServicesRequest) (*api.ListServicesResponse, error) {
	return &api.ListServicesResponse{ServiceARNs: []string{}}, s.read(func(st *state) error {
		_, err := st.cluster(in.Cluster)
		return err
	})
}

func (s *Service) describeServices(in *api.DescribeServicesRequest) (*api.DescribeServicesResponse, error) {
	out := &api.DescribeServicesResponse{Services: []json.RawMessage{}, Failures: []api.Failure{}}
	err := s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		for _, name := range in.Services {
			if !isARN(name) {
				name = s.arn("service", c.Name, name)
			}
			out.Failures = append(out.Failures, api.Failure{ARN: name, Reason: api.ReasonMissing})
		}
		return nil
	})
	return out, err
}

func checkTags(tags []api.Tag) error {
	if problems := taskdef.CheckTags(tags); len(problems) > 0 {
		return api.Invalid("%s", problems[0].Message)
	}
	return nil
}
