package service

import (
	"fmt"
	"slices"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/taskdef"
)

func (s *Service) registerTaskDefinition(in *api.RegisterTaskDefinitionRequest) (*api.RegisterTaskDefinitionResponse, error) {
	if problems := taskdef.Validate(in); len(problems) > 0 {
		return nil, api.Client("%s", problems[0].Message)
	}
	d := &definition{TaskDefinition: taskdef.Complete(in), Tags: in.Tags}
	d.Status = api.StatusActive
	d.RegisteredBy = fmt.Sprintf("arn:%s:iam::%s:root", s.partition, s.opts.AccountID)
	out := new(api.RegisterTaskDefinitionResponse)
	err := s.update(func(t *tx) error {
		f := s.state.families[in.Family]
		if f == nil {
			f = &family{Name: in.Family}
			s.state.families[in.Family] = f
		}
		f.Last++
		d.Revision = f.Last
		d.RegisteredAt = api.At(t.now)
		d.TaskDefinitionARN = s.arn("task-definition", d.key())
		s.state.definitions[d.key()] = d
		t.save(kindFamily, f.Name, f)
		t.saveDefinition(d)
		out.TaskDefinition, out.Tags = d.TaskDefinition, d.Tags
		return nil
	})
	return out, err
}

func (s *Service) describeTaskDefinition(in *api.DescribeTaskDefinitionRequest) (*api.DescribeTaskDefinitionResponse, error) {
	out := new(api.DescribeTaskDefinitionResponse)
	err := s.read(func(st *state) error {
		d := st.definition(in.TaskDefinition)
		if d == nil {
			return api.Client("Unable to describe task definition.")
		}
		out.TaskDefinition = d.TaskDefinition
		if slices.Contains(in.Include, "TAGS") {
			out.Tags = append([]api.Tag{}, d.Tags...)
		}
		return nil
	})
	return out, err
}

func (s *Service) deregisterTaskDefinition(in *api.DeregisterTaskDefinitionRequest) (*api.DescribeTaskDefinitionResponse, error) {
	out := new(api.DescribeTaskDefinitionResponse)
	err := s.update(func(t *tx) error {
		d, err := s.revision(in.TaskDefinition)
		if err != nil {
			return err
		}
		if d == nil {
			return api.Client("The specified task definition does not exist.")
		}
		if d.Status == api.StatusActive {
			d = s.state.replaceDefinition(t, d, func(d *definition) {
				d.Status = api.StatusInactive
				d.DeregisteredAt = api.At(t.now)
			})
		}
		out.TaskDefinition = d.TaskDefinition
		return nil
	})
	return out, err
}

// revision finds a task definition by a reference that must name the revision.
func (s *Service) revision(ref string) (*definition, error) {
	name := ref
	if isARN(ref) {
		_, parts, ok := splitARN(ref)
		if !ok {
			return nil, api.Invalid("Invalid identifier: '%s' is not the ARN of a task definition.", clip(ref))
		}
		name = parts[0]
	}
	if !slices.Contains([]byte(name), ':') {
		return nil, api.Client("Missing revision in task definition '%s'.", clip(ref))
	}
	return s.state.definition(ref), nil
}

// replaceDefinition puts a changed copy in the definition's place: answers that
// are being encoded may still show the old one.
func (st *state) replaceDefinition(t *tx, old *definition, change func(*definition)) *definition {
	d := *old
	change(&d)
	st.definitions[d.key()] = &d
	t.saveDefinition(&d)
	return &d
}

func (s *Service) deleteTaskDefinitions(in *api.DeleteTaskDefinitionsRequest) (*api.DeleteTaskDefinitionsResponse, error) {
	if n := len(in.TaskDefinitions); n < 1 || n > 10 {
		return nil, api.Invalid("taskDefinitions must have 1 to 10 items.")
	}
	out := &api.DeleteTaskDefinitionsResponse{TaskDefinitions: []api.TaskDefinition{}, Failures: []api.Failure{}}
	err := s.update(func(t *tx) error {
		for _, ref := range in.TaskDefinitions {
			d, err := s.revision(ref)
			if err != nil {
				return err
			}
			switch {
			case d == nil:
				out.Failures = append(out.Failures, api.Failure{ARN: ref, Reason: api.ReasonMissing, Detail: "The specified task definition does not exist."})
			case d.Status == api.StatusActive:
				out.Failures = append(out.Failures, api.Failure{ARN: d.TaskDefinitionARN, Reason: "INVALID",
					Detail: "The specified task definition is still in ACTIVE status. Please deregister the target and try again."})
			default:
				d = s.state.replaceDefinition(t, d, func(d *definition) {
					d.Status = api.StatusDeleting
					d.DeleteRequestedAt = api.At(t.now)
				})
				out.TaskDefinitions = append(out.TaskDefinitions, d.TaskDefinition)
			}
		}
		s.state.dropDeleted(t)
		return nil
	})
	return out, err
}

// dropDeleted forgets revisions that are being deleted once no task runs them.
func (st *state) dropDeleted(t *tx) {
	for key, d := range st.definitions {
		if d.Status != api.StatusDeleting || st.inUse(d.TaskDefinitionARN) {
			continue
		}
		delete(st.definitions, key)
		t.save(kindDefinition, key, nil)
	}
}

func (st *state) inUse(arn string) bool {
	for _, tk := range st.tasks {
		if tk.Task.TaskDefinitionARN == arn && !tk.isStopped() {
			return true
		}
	}
	return false
}

func (s *Service) listTaskDefinitions(in *api.ListTaskDefinitionsRequest) (*api.ListTaskDefinitionsResponse, error) {
	status := in.Status
	if status == "" {
		status = api.StatusActive
	}
	if !slices.Contains([]string{api.StatusActive, api.StatusInactive, api.StatusDeleting}, status) {
		return nil, api.Invalid("Invalid status '%s'. Valid values: ACTIVE, INACTIVE, DELETE_IN_PROGRESS.", clip(status))
	}
	if in.Sort != "" && in.Sort != "ASC" && in.Sort != "DESC" {
		return nil, api.Invalid("Invalid sort '%s'. Valid values: ASC, DESC.", clip(in.Sort))
	}
	out := new(api.ListTaskDefinitionsResponse)
	err := s.read(func(st *state) (err error) {
		var list []entry
		for _, d := range st.definitions {
			if d.Status == status && (in.FamilyPrefix == "" || d.Family == in.FamilyPrefix) {
				list = append(list, entry{fmt.Sprintf("%s\x00%010d", d.Family, d.Revision), d.TaskDefinitionARN})
			}
		}
		out.TaskDefinitionARNs, out.NextToken, err = page(list, in.Page, in.Sort == "DESC")
		return err
	})
	return out, err
}

func (s *Service) listTaskDefinitionFamilies(in *api.ListTaskDefinitionsRequest) (*api.ListTaskDefinitionFamiliesResponse, error) {
	if !slices.Contains([]string{"", "ALL", api.StatusActive, api.StatusInactive}, in.Status) {
		return nil, api.Invalid("Invalid status '%s'. Valid values: ACTIVE, INACTIVE, ALL.", clip(in.Status))
	}
	out := new(api.ListTaskDefinitionFamiliesResponse)
	err := s.read(func(st *state) (err error) {
		active := map[string]bool{} // by family, for every family that has revisions
		for _, d := range st.definitions {
			active[d.Family] = active[d.Family] || d.Status == api.StatusActive
		}
		var list []entry
		for name, isActive := range active {
			if len(name) < len(in.FamilyPrefix) || name[:len(in.FamilyPrefix)] != in.FamilyPrefix {
				continue
			}
			if in.Status == api.StatusActive && !isActive || in.Status == api.StatusInactive && isActive {
				continue
			}
			list = append(list, entry{name, name})
		}
		out.Families, out.NextToken, err = page(list, in.Page, false)
		return err
	})
	return out, err
}
