package service

import (
	"slices"

	"ecsagent/controlplane/api"
)

// maxTags is how many tags a resource can have.
const maxTags = 50

// tagged is a resource with tags: how to read them and how to replace them.
type tagged struct {
	tags *[]api.Tag
	save func(*tx)
}

// tagged finds the resource of an ARN.
func (s *Service) tagged(arn string) (tagged, error) {
	kind, parts, ok := splitARN(arn)
	if !ok {
		return tagged{}, api.Invalid("Invalid identifier: '%s' is not an ARN of ECS.", clip(arn))
	}
	switch kind {
	case "cluster":
		if c := s.state.clusters[parts[0]]; c != nil && c.Status == api.StatusActive {
			return tagged{&c.Tags, func(t *tx) { t.saveCluster(c) }}, nil
		}
		return tagged{}, api.ClusterNotFound()
	case "task-definition":
		if d := s.state.definition(arn); d != nil {
			return tagged{&d.Tags, func(t *tx) { t.saveDefinition(d) }}, nil
		}
		return tagged{}, api.Invalid("The specified task-definition is not found.")
	case "task":
		if tk := s.state.tasks[arn]; tk != nil {
			return tagged{&tk.Task.Tags, func(t *tx) { t.saveTask(tk) }}, nil
		}
		return tagged{}, api.Invalid("The specified task is not found.")
	case "container-instance":
		if in := s.state.instances[arn]; in != nil && in.Status != api.StatusInactive {
			return tagged{&in.Tags, func(t *tx) { t.save(kindInstance, in.ARN, in) }}, nil
		}
		return tagged{}, api.Invalid("The specified container-instance is not found.")
	}
	return tagged{}, api.Invalid("The resource '%s' cannot have tags.", clip(arn))
}

func (s *Service) tagResource(in *api.TagResourceRequest) (*api.Empty, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return &api.Empty{}, s.update(func(t *tx) error {
		r, err := s.tagged(in.ResourceARN)
		if err != nil {
			return err
		}
		merged := mergeTags(*r.tags, in.Tags)
		if len(merged) > maxTags {
			return api.Errorf(api.LimitExceededException, "A resource can have at most %d tags.", maxTags)
		}
		*r.tags = merged
		r.save(t)
		return nil
	})
}

// mergeTags puts more over base.
func mergeTags(base, more []api.Tag) []api.Tag {
	merged := slices.DeleteFunc(slices.Clone(base), func(b api.Tag) bool {
		return slices.ContainsFunc(more, func(m api.Tag) bool { return m.Key == b.Key })
	})
	return append(merged, more...)
}

func (s *Service) untagResource(in *api.UntagResourceRequest) (*api.Empty, error) {
	return &api.Empty{}, s.update(func(t *tx) error {
		r, err := s.tagged(in.ResourceARN)
		if err != nil {
			return err
		}
		*r.tags = slices.DeleteFunc(slices.Clone(*r.tags), func(tag api.Tag) bool { return slices.Contains(in.TagKeys, tag.Key) })
		r.save(t)
		return nil
	})
}

func (s *Service) listTagsForResource(in *api.ListTagsForResourceRequest) (*api.ListTagsForResourceResponse, error) {
	out := new(api.ListTagsForResourceResponse)
	err := s.read(func(*state) error {
		r, err := s.tagged(in.ResourceARN)
		if err == nil {
			out.Tags = append([]api.Tag{}, *r.tags...)
		}
		return err
	})
	return out, err
}
