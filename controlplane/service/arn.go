package service

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"ecsagent/controlplane/api"
)

var (
	nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,254}$`)
	idForm   = regexp.MustCompile(`^(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
)

// arn makes an ARN of this account, in the long format.
func (s *Service) arn(kind string, parts ...string) string {
	return fmt.Sprintf("arn:%s:ecs:%s:%s:%s/%s", s.partition, s.opts.Region, s.opts.AccountID, kind, strings.Join(parts, "/"))
}

// splitARN returns the resource part of an ECS ARN: "task", ["prod", "0a1b…"].
func splitARN(arn string) (kind string, parts []string, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[2] != "ecs" {
		return "", nil, false
	}
	kind, rest, ok := strings.Cut(p[5], "/")
	return kind, strings.Split(rest, "/"), ok && rest != ""
}

func isARN(s string) bool { return strings.HasPrefix(s, "arn:") }

// clusterName reads a cluster's name or ARN; empty is the default cluster.
func clusterName(ref string) (string, error) {
	if ref == "" {
		return "default", nil
	}
	if !isARN(ref) {
		return ref, nil
	}
	kind, parts, ok := splitARN(ref)
	if !ok || kind != "cluster" || len(parts) != 1 {
		return "", api.Invalid("Invalid identifier: '%s' is not the ARN of a cluster.", ref)
	}
	return parts[0], nil
}

// cluster finds an active cluster.
func (st *state) cluster(ref string) (*cluster, error) {
	name, err := clusterName(ref)
	if err != nil {
		return nil, err
	}
	c := st.clusters[name]
	if c == nil || c.Status != api.StatusActive {
		return nil, api.ClusterNotFound()
	}
	return c, nil
}

// resourceID reads the id or ARN of a task or container instance of the cluster.
func resourceID(kind, ref, cluster string) (string, error) {
	if !isARN(ref) {
		if !idForm.MatchString(ref) {
			return "", api.Invalid("Invalid identifier: '%s' is neither the id nor the ARN of a %s.", clip(ref), kind)
		}
		return ref, nil
	}
	k, parts, ok := splitARN(ref)
	switch {
	case !ok || k != kind || len(parts) > 2:
		return "", api.Invalid("Invalid identifier: '%s' is not the ARN of a %s.", clip(ref), kind)
	case len(parts) == 2 && parts[0] != cluster:
		return "", api.Invalid("Identifier is for cluster %s. Your cluster is %s", parts[0], cluster)
	}
	return parts[len(parts)-1], nil
}

// task finds a task of the cluster; nil if there is none.
func (s *Service) task(ref string, c *cluster) (*task, error) {
	id, err := resourceID("task", ref, c.Name)
	if err != nil {
		return nil, err
	}
	return s.state.tasks[s.arn("task", c.Name, id)], nil
}

// instance finds a container instance of the cluster; nil if there is none.
func (s *Service) instance(ref string, c *cluster) (*instance, error) {
	id, err := resourceID("container-instance", ref, c.Name)
	if err != nil {
		return nil, err
	}
	return s.state.instances[s.arn("container-instance", c.Name, id)], nil
}

// definition finds a task definition by family, family:revision or ARN; a family
// alone means its newest active revision. nil if there is none.
func (st *state) definition(ref string) *definition {
	if isARN(ref) {
		kind, parts, ok := splitARN(ref)
		if !ok || kind != "task-definition" || len(parts) != 1 {
			return nil
		}
		ref = parts[0]
	}
	name, revision, found := strings.Cut(ref, ":")
	if found {
		n, err := strconv.Atoi(revision)
		if err != nil {
			return nil
		}
		return st.definitions[revisionKey(name, n)]
	}
	f := st.families[name]
	if f == nil {
		return nil
	}
	for n := f.Last; n > 0; n-- {
		if d := st.definitions[revisionKey(name, n)]; d != nil && d.Status == api.StatusActive {
			return d
		}
	}
	return nil
}

// clip keeps a hostile value from filling a message.
func clip(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
