package gmsa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/resource/gmsa/fetcher"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

// Fetcher makes Kerberos tickets; *fetcher.Client does.
type Fetcher interface {
	// Add makes those of accounts on a host that is in their domain, under one lease.
	Add(ctx context.Context, specs []string) (fetcher.Lease, error)
	// AddAs makes them with the rights of a user.
	AddAs(ctx context.Context, specs []string, as fetcher.Account) (fetcher.Lease, error)
	// Renew renews what was made with the rights of a user.
	Renew(ctx context.Context, as fetcher.Account) error
	// Delete gives a lease back.
	Delete(ctx context.Context, lease string) error
}

// TicketOptions are the parts of Tickets. Without a Fetcher they can only tell what would
// be mounted.
type TicketOptions struct {
	Sources
	Secrets Values // of Secrets Manager
	Fetcher Fetcher
	Log     *zap.Logger
}

// Tickets implements engine.Hook for Linux: credentials-fetcher makes the tickets of the
// accounts, and containers have their folders mounted.
//
// A lease is known to the task's record when Provision has returned. One that is made by a
// process that ends before that is left to the daemon: it has no name by which another
// process could know it for the task's.
type Tickets struct{ opts TicketOptions }

// NewTickets makes Tickets. It asks nothing yet.
func NewTickets(o TicketOptions) *Tickets {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Tickets{o}
}

// mountPoint is where containers find their ticket, in a file krb5cc.
const mountPoint = "/var/credentials-fetcher/krbdir"

// Members of a resource's data: leases by number, the ticket folders of containers, and, by
// number, the secrets of the users with whose rights tickets were made.
const (
	dataLease  = "lease."
	dataTicket = "ticket."
	dataUser   = "user."
)

// Kind implements engine.Hook.
func (*Tickets) Kind() string { return "credentialspec" }

// Needs implements engine.Hook.
func (*Tickets) Needs(spec *task.Spec) ([]task.Resource, error) {
	return needs(spec, onHost, func(*reference) error { return nil })
}

// Preview implements engine.Hook.
func (*Tickets) Preview(spec *task.Spec, _ *task.Resource) resource.Provided {
	out := resource.Provided{Inputs: make(map[string]dockerspec.Inputs)}
	_ = each(spec, onHost, func(c *task.Container, _ int, r *reference) error {
		out.Inputs[c.Name] = mounted("<tickets of the account of " + r.text + ">")
		return nil
	})
	return out
}

func mounted(folder string) dockerspec.Inputs {
	return dockerspec.Inputs{Binds: []string{folder + ":" + mountPoint + ":ro"}}
}

// wish is the spec of a container that has not run.
type wish struct {
	container string
	ref       *reference
	body      string
	account   string
	user      string // ARN of the secret, of a domainless spec
}

// Provision implements engine.Hook. Tickets of an earlier attempt are used if they are there.
func (h *Tickets) Provision(ctx context.Context, s *task.Snapshot, r *task.Resource) (resource.Provided, error) {
	out := resource.Provided{Inputs: make(map[string]dockerspec.Inputs), Data: maps.Clone(h.dataOf(s))}
	if out.Data == nil {
		out.Data = make(map[string]string)
	}
	var wishes []wish
	err := each(s.Spec, onHost, func(c *task.Container, i int, ref *reference) error {
		if st := &s.State.Containers[i]; st.Known >= task.ContainerRunning || st.Desired == task.ContainerStopped {
			return nil
		}
		if folder := out.Data[dataTicket+c.Name]; folder != "" && isFolder(folder) {
			out.Inputs[c.Name] = mounted(folder)
			return nil
		}
		w := wish{container: c.Name, ref: ref}
		if err := h.read(ctx, s.ExecutionCredentialsID, &w); err != nil {
			return fmt.Errorf("credential spec %q of container %s: %w", ref.text, c.Name, err)
		}
		wishes = append(wishes, w)
		return nil
	})
	if err == nil {
		err = h.lease(ctx, s.ExecutionCredentialsID, wishes, &out)
	}
	if err != nil {
		return out, fmt.Errorf("credentialspec resource: %w", err)
	}
	if len(wishes) > 0 {
		h.opts.Log.Debug("tickets of managed service accounts made", zap.String("task", s.ARN), zap.String("resource", r.Name), zap.Int("count", len(wishes)))
	}
	return out, nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// dataOf is what an earlier Provision gave to remember.
func (h *Tickets) dataOf(s *task.Snapshot) map[string]string {
	for i := range s.Resources {
		if s.Resources[i].Kind == h.Kind() && i < len(s.State.Resources) {
			return s.State.Resources[i].Data
		}
	}
	return nil
}

// read fetches a spec and looks for what is to be known of it.
func (h *Tickets) read(ctx context.Context, credentialsID string, w *wish) error {
	var body []byte
	var err error
	if w.ref.source == fromFile {
		body, err = os.ReadFile(w.ref.file)
	} else {
		body, err = h.opts.fetch(ctx, credentialsID, w.ref)
	}
	if err != nil {
		return err
	}
	if body, err = compact(body); err != nil {
		return err
	}
	w.body = string(body)
	if w.account, w.user, err = accountOf(body); err != nil {
		return err
	}
	if w.ref.domainless && w.user == "" {
		return errNoUser
	}
	return nil
}

// lease has the tickets made: with one call for all accounts of the host's domain, and one
// for each other spec. What was made before a failure is remembered.
func (h *Tickets) lease(ctx context.Context, credentialsID string, wishes []wish, out *resource.Provided) error {
	var together []string
	for i := range wishes {
		if w := &wishes[i]; !w.ref.domainless && !slices.Contains(together, w.body) {
			together = append(together, w.body)
		}
	}
	if len(together) > 0 {
		l, err := h.opts.Fetcher.Add(ctx, together)
		if err != nil {
			return err
		}
		remember(out.Data, dataLease, l.ID)
		for i := range wishes {
			if w := &wishes[i]; !w.ref.domainless {
				if err := give(w, l, out); err != nil {
					return err
				}
			}
		}
	}
	made := make(map[string]fetcher.Lease) // by spec
	for i := range wishes {
		w := &wishes[i]
		if !w.ref.domainless {
			continue
		}
		l, ok := made[w.body]
		if !ok {
			as, err := h.account(ctx, credentialsID, w.user)
			if err != nil {
				return err
			}
			if l, err = h.opts.Fetcher.AddAs(ctx, []string{w.body}, as); err != nil {
				return err
			}
			made[w.body] = l
			remember(out.Data, dataLease, l.ID)
			remember(out.Data, dataUser, w.user)
		}
		if err := give(w, l, out); err != nil {
			return err
		}
	}
	return nil
}

// remember adds a value under the next number, once.
func remember(data map[string]string, of, value string) {
	for n := 0; ; n++ {
		key := of + strconv.Itoa(n)
		if data[key] == value {
			return
		}
		if data[key] == "" {
			data[key] = value
			return
		}
	}
}

// remembered are the values in the order of their numbers.
func remembered(data map[string]string, of string) (list []string) {
	for n := 0; data[of+strconv.Itoa(n)] != ""; n++ {
		list = append(list, data[of+strconv.Itoa(n)])
	}
	return list
}

// give mounts the folder that is named after the account.
func give(w *wish, l fetcher.Lease, out *resource.Provided) error {
	i := slices.IndexFunc(l.Tickets, func(folder string) bool { return strings.EqualFold(path.Base(folder), w.account) })
	if i < 0 {
		return fmt.Errorf("unable to fetch valid credentialspec mapping: credentials-fetcher made no ticket of account %s for container %s", w.account, w.container)
	}
	folder := l.Tickets[i]
	if !path.IsAbs(folder) || path.Clean(folder) != folder || strings.Contains(folder, ":") {
		return fmt.Errorf("credentials-fetcher says that the ticket of account %s is in %q: want the path of a folder", w.account, folder)
	}
	out.Inputs[w.container] = mounted(folder)
	out.Data[dataTicket+w.container] = folder
	return nil
}

// account reads the user with whose rights tickets are made.
func (h *Tickets) account(ctx context.Context, credentialsID, arn string) (fetcher.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	value, err := find(ctx, h.opts.Secrets, credentialsID, task.Secret{Name: "credentialspec", ValueFrom: arn, Provider: "asm"})
	if err != nil {
		return fetcher.Account{}, err
	}
	var a struct{ Username, Password, DomainName string }
	if json.Unmarshal([]byte(value.Reveal()), &a) != nil || a.Username == "" || a.Password == "" || a.DomainName == "" {
		return fetcher.Account{}, fmt.Errorf("secret %s: want JSON with username, password and domainName", arn)
	}
	return fetcher.Account{User: a.Username, Password: secret.String(a.Password), Domain: a.DomainName}, nil
}

// Renew has the tickets renewed that were made with the rights of users, with what their
// secrets say now. It is called with new credentials of the task's execution role.
func (h *Tickets) Renew(ctx context.Context, s *task.Snapshot) error {
	if s.State.Desired == task.Stopped {
		return nil
	}
	var failed []error
	var done []fetcher.Account
	for _, arn := range remembered(h.dataOf(s), dataUser) {
		as, err := h.account(ctx, s.ExecutionCredentialsID, arn)
		if err == nil && !slices.Contains(done, as) {
			done = append(done, as)
			err = h.opts.Fetcher.Renew(ctx, as)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// CleanUp implements engine.Hook. A lease that the daemon refuses to delete is one that it
// does not know any more.
func (h *Tickets) CleanUp(ctx context.Context, s *task.Snapshot, _ *task.Resource, data map[string]string) error {
	var failed []error
	for _, id := range remembered(data, dataLease) {
		err := h.opts.Fetcher.Delete(ctx, id)
		var refused *fetcher.Status
		if errors.As(err, &refused) {
			h.opts.Log.Warn("lease of tickets not given back", zap.String("task", s.ARN), zap.Error(err))
			continue
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
