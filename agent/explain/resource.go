package explain

// Resource is what else is made for the task (docs/spec/02 chapter 7).
type Resource struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Role says that it takes the credentials of the task's execution role.
	Role bool `json:"executionRole,omitempty"`
}

func (e *explainer) resources() []Resource {
	var list []Resource
	for i := range e.spec.Resources {
		r := &e.spec.Resources[i]
		list = append(list, Resource{Name: r.Name, What: r.Text, Role: r.NeedsRole})
	}
	return list
}
