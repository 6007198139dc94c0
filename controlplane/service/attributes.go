package service

import (
	"fmt"
	"maps"
	"strings"

	"ecsagent/controlplane/api"
)

// putAttributes sets attributes of users on instances.
func (s *Service) putAttributes(in *api.AttributesRequest) (*api.AttributesResponse, error) {
	if n := len(in.Attributes); n < 1 || n > 10 {
		return nil, api.Invalid("Attributes must have 1 to 10 items.")
	}
	return s.changeAttributes(in, func(i *instance, a api.Attribute) error {
		if err := checkAttribute(a); err != nil {
			return err
		}
		i.Attributes[a.Name] = a.Value
		return nil
	})
}

func (s *Service) deleteAttributes(in *api.AttributesRequest) (*api.AttributesResponse, error) {
	return s.changeAttributes(in, func(i *instance, a api.Attribute) error {
		if value, ok := i.Attributes[a.Name]; ok && (a.Value == "" || a.Value == value) {
			delete(i.Attributes, a.Name)
		}
		return nil
	})
}

func (s *Service) changeAttributes(in *api.AttributesRequest, change func(*instance, api.Attribute) error) (*api.AttributesResponse, error) {
	out := &api.AttributesResponse{Attributes: []api.Attribute{}}
	err := s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		for _, a := range in.Attributes {
			if a.TargetType != "" && a.TargetType != "container-instance" {
				return api.Invalid("Invalid target type '%s'.", clip(a.TargetType))
			}
			i, err := s.instance(a.TargetID, c)
			if err != nil {
				return err
			}
			if i == nil || i.Status == api.StatusInactive {
				return api.Errorf(api.TargetNotFoundException, "The specified target wasn't found: %s", clip(a.TargetID))
			}
			i.Attributes = maps.Clone(i.Attributes)
			if err := change(i, a); err != nil {
				return err
			}
			t.instanceChanged(i)
			out.Attributes = append(out.Attributes, api.Attribute{Name: a.Name, Value: a.Value, TargetType: "container-instance", TargetID: i.ARN})
		}
		return nil
	})
	return out, err
}

func (s *Service) listAttributes(in *api.ListAttributesRequest) (*api.ListAttributesResponse, error) {
	if in.TargetType != "container-instance" {
		return nil, api.Invalid("Invalid target type '%s'.", clip(in.TargetType))
	}
	out := &api.ListAttributesResponse{Attributes: []api.Attribute{}}
	err := s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		var list []entry
		for _, i := range st.instancesOf(c, api.StatusActive, api.StatusDraining) {
			for name, value := range i.Attributes {
				if (in.AttributeName == "" || in.AttributeName == name) && (in.AttributeValue == "" || in.AttributeValue == value) {
					key := fmt.Sprintf("%s\x00%s", name, i.ARN)
					list = append(list, entry{key, key})
				}
			}
		}
		keys, next, err := page(list, in.Page, false)
		for _, key := range keys {
			name, arn, _ := strings.Cut(key, "\x00")
			out.Attributes = append(out.Attributes, api.Attribute{Name: name, Value: st.instances[arn].Attributes[name],
				TargetType: "container-instance", TargetID: arn})
		}
		out.NextToken = next
		return err
	})
	return out, err
}
