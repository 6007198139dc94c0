package gmsa

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ecsagent/agent/engine"
	"ecsagent/agent/resource"
	"ecsagent/agent/resource/gmsa/fetcher"
	"ecsagent/agent/resource/gmsa/fetcher/fetchertest"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

var (
	_ engine.Hook = (*Tickets)(nil)
	_ Fetcher     = (*fetcher.Client)(nil)
)

const userARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:gmsa-user"

// users plays Secrets Manager.
type users struct {
	values map[string]string // by ARN
	fail   error
}

func (u *users) Find(_ context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error) {
	if u.fail != nil || credentialsID != "exec" || wanted[0].Provider != "asm" {
		return nil, errors.Join(errors.New("AccessDeniedException"), u.fail)
	}
	return map[task.Secret]secret.String{wanted[0]: secret.String(u.values[wanted[0].ValueFrom])}, nil
}

func specOf(account, user string) string {
	text := `{"ActiveDirectoryConfig": {"GroupManagedServiceAccounts": [{"Name": "` + account + `"}, {"Name": "other"}]`
	if user != "" {
		text += `, "HostAccountConfig": {"PluginInput": {"CredentialArn": "` + user + `"}}`
	}
	return text + "}}"
}

type ticketRig struct {
	*Tickets
	stand  *stand
	users  *users
	daemon *fetchertest.Server
	dir    string
}

func newTickets(t *testing.T) *ticketRig {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("files and sockets of Linux")
	}
	r := &ticketRig{stand: &stand{}, dir: t.TempDir(), users: &users{values: map[string]string{userARN: `{"username":"svc","password":"canary","domainName":"contoso.com"}`}}}
	r.daemon = &fetchertest.Server{Dir: filepath.Join(r.dir, "krbdir")}
	socket := filepath.Join(r.dir, "s")
	if err := r.daemon.Serve(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.daemon.Close)
	client := fetcher.New(socket)
	client.Pause = time.Millisecond
	r.Tickets = NewTickets(TicketOptions{Sources: sources(r.stand), Secrets: r.users, Fetcher: client})
	return r
}

// file writes a spec and returns the reference to it.
func (r *ticketRig) file(t *testing.T, prefix, name, text string) string {
	t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return prefix + "file://" + path
}

// provision does what the engine does, and remembers the data for the next time.
func (r *ticketRig) provision(t *testing.T, s *task.Snapshot) (resource.Provided, error) {
	t.Helper()
	if s.Resources == nil {
		list, err := r.Needs(s.Spec)
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		list[0].Kind = r.Kind()
		s.Resources, s.State.Resources = list, make([]task.ResourceState, 1)
	}
	out, err := r.Provision(t.Context(), s, &s.Resources[0])
	s.State.Resources[0].Data = out.Data
	return out, err
}

// ticket reads the ticket that a container finds.
func ticket(t *testing.T, out resource.Provided, container string) string {
	t.Helper()
	in := out.Inputs[container]
	if len(in.Binds) != 1 || in.CredentialSpec != "" {
		t.Errorf("%s gets %q", container, in.Binds)
		return ""
	}
	folder, ok := strings.CutSuffix(in.Binds[0], ":/var/credentials-fetcher/krbdir:ro")
	text, err := os.ReadFile(filepath.Join(folder, fetchertest.Ticket))
	if err != nil || !ok {
		t.Error(in.Binds[0], err)
	}
	return string(text)
}

// TestTicketsJoined: one lease for all accounts, whatever their specs come from; an agent
// that is started again uses what is there; the lease goes with the task, once.
func TestTicketsJoined(t *testing.T) {
	r := newTickets(t)
	web := r.file(t, joined, "web.json", specOf("Web", ""))
	s := snapshot(web, joined+objectARN, `{"SecurityOpt":["`+joined+paramARN+`"]}`, "", web)
	out, err := r.provision(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Resources[0].NeedsRole || strings.Join(s.Resources[0].Containers, "") != "abce" {
		t.Errorf("needs %+v", s.Resources[0])
	}
	for container, want := range map[string]string{"a": "Web", "b": "WebApp01", "c": "WebApp01", "e": "Web"} {
		if got := ticket(t, out, container); got != "ticket of "+want+"\n" {
			t.Errorf("%s gets the %q", container, got)
		}
	}
	if calls := r.daemon.Calls(); !slices.Equal(calls, []string{"AddKerberosLease of 2 specs"}) {
		t.Errorf("calls %q", calls)
	}
	again, err := r.provision(t, s)
	if calls := r.daemon.Calls(); err != nil || len(calls) != 0 || again.Inputs["a"].Binds[0] != out.Inputs["a"].Binds[0] {
		t.Errorf("%v, calls %q", err, calls)
	}
	// The host was started anew, and the tickets are gone; one container has run.
	if err := os.RemoveAll(r.daemon.Dir); err != nil {
		t.Fatal(err)
	}
	s.State.Containers[0].Known = task.ContainerRunning
	if out, err = r.provision(t, s); err != nil || len(out.Inputs) != 3 || ticket(t, out, "e") == "" {
		t.Errorf("%v, %v", out.Inputs, err)
	}
	if leases := r.daemon.Leases(); len(leases) != 2 || len(remembered(out.Data, dataLease)) != 2 {
		t.Errorf("leases %q, remembered %v", leases, out.Data)
	}
	if err := r.Renew(t.Context(), s); err != nil {
		t.Error(err)
	}
	r.daemon.Calls()
	for range 2 { // the second time the daemon does not know them
		if err := r.CleanUp(t.Context(), s, &s.Resources[0], s.State.Resources[0].Data); err != nil || len(r.daemon.Leases()) != 0 {
			t.Errorf("%v, leases %q", err, r.daemon.Leases())
		}
	}
	if calls := r.daemon.Calls(); len(calls) < 4 || !strings.HasPrefix(calls[0], "DeleteKerberosLease ") {
		t.Errorf("calls %q", calls)
	}
	if err := r.CleanUp(t.Context(), s, &s.Resources[0], nil); err != nil {
		t.Error(err)
	}
}

// TestTicketsDomainless: a lease for each spec, with the rights of the user in the secret,
// renewed with what the secret has by then, once for each user.
func TestTicketsDomainless(t *testing.T) {
	r := newTickets(t)
	second := userARN + "2"
	r.users.values[second] = r.users.values[userARN]
	s := snapshot(r.file(t, domainless, "web.json", specOf("Web", userARN)), r.file(t, domainless, "db.json", specOf("Db", second)))
	out, err := r.provision(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if ticket(t, out, "a") != "ticket of Web\n" || ticket(t, out, "b") != "ticket of Db\n" {
		t.Errorf("%v", out.Inputs)
	}
	const add = "AddNonDomainJoinedKerberosLease of 1 specs as svc contoso.com canary"
	if calls := r.daemon.Calls(); !slices.Equal(calls, []string{add, add}) {
		t.Errorf("calls %q", calls)
	}
	for _, v := range out.Data {
		if strings.Contains(v, "canary") {
			t.Errorf("the record has %v", out.Data)
		}
	}
	r.users.values[userARN] = `{"username":"svc","password":"new","domainName":"contoso.com"}`
	r.users.values[second] = r.users.values[userARN]
	if err := r.Renew(t.Context(), s); err != nil {
		t.Error(err)
	}
	if calls := r.daemon.Calls(); !slices.Equal(calls, []string{"RenewNonDomainJoinedKerberosLease as svc contoso.com new"}) {
		t.Errorf("calls %q", calls)
	}
	r.users.fail = errors.New("throttled")
	if err := r.Renew(t.Context(), s); err == nil || !strings.Contains(err.Error(), "throttled") {
		t.Error(err)
	}
	s.State.Desired = task.Stopped
	if err := r.Renew(t.Context(), s); err != nil {
		t.Errorf("of a task that stops: %v", err)
	}
	if err := r.CleanUp(t.Context(), s, &s.Resources[0], out.Data); err != nil || len(r.daemon.Leases()) != 0 {
		t.Errorf("%v, leases %q", err, r.daemon.Leases())
	}
}

// TestTicketsFail: the reasons; what was made before a failure is given back.
func TestTicketsFail(t *testing.T) {
	for text, want := range map[string]string{
		joined + "file://web.json":                   "want the path of a file on the container instance",
		joined + "file:///etc/../web.json":           "want the path of a file on the container instance",
		joined + "arn:aws:sqs:eu-west-1:1:q":         "unsupported credentialspec ARN, only s3/ssm ARNs are valid",
		"web.json":                                   "want credentialspec:VALUE or credentialspecdomainless:VALUE",
		joined + "arn:aws:s3:eu-west-1:1:bucket/key": "want the ARN of an object",
	} {
		if _, err := NewTickets(TicketOptions{}).Needs(snapshot(text).Spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	poor := snapshot(domainless + "file:///web.json").Spec
	poor.ExecutionCredentialsID = ""
	if _, err := NewTickets(TicketOptions{}).Needs(poor); err == nil || err.Error() != "credentialspec resource: unable to find execution role credentials" {
		t.Error(err)
	}
	internal := &fetchertest.Refusal{Code: 3, Message: "cannot reach contoso.com"}
	for name, c := range map[string]struct {
		spec    func(t *testing.T, r *ticketRig) string
		disturb func(r *ticketRig)
		want    string
	}{
		"no file": {func(*testing.T, *ticketRig) string { return joined + "file:///nowhere/web.json" }, nil, "no such file"},
		"no JSON": {func(t *testing.T, r *ticketRig) string { return r.file(t, joined, "x", "canary text") }, nil, "it is not JSON"},
		"no account": {func(t *testing.T, r *ticketRig) string { return r.file(t, joined, "x", `{"CmsPlugins":[]}`) }, nil,
			"want ActiveDirectoryConfig.GroupManagedServiceAccounts with the account's Name"},
		"a path for an account": {func(t *testing.T, r *ticketRig) string { return r.file(t, joined, "x", specOf("../x", "")) }, nil, "want the name of an account"},
		"no user":               {func(t *testing.T, r *ticketRig) string { return r.file(t, domainless, "x", specOf("Web", "")) }, nil, "PluginInput.CredentialArn"},
		"a user that is no JSON": {func(t *testing.T, r *ticketRig) string { return r.file(t, domainless, "x", specOf("Web", userARN)) },
			func(r *ticketRig) { r.users.values[userARN] = "canary" }, userARN + ": want JSON with username, password and domainName"},
		"a user without a domain": {func(t *testing.T, r *ticketRig) string { return r.file(t, domainless, "x", specOf("Web", userARN)) },
			func(r *ticketRig) { r.users.values[userARN] = `{"username":"a","password":"canary"}` }, "want JSON with"},
		"a user that is denied": {func(t *testing.T, r *ticketRig) string { return r.file(t, domainless, "x", specOf("Web", userARN)) },
			func(r *ticketRig) { r.users.fail = errors.New("denied") }, "denied"},
		"an object that is denied":    {func(*testing.T, *ticketRig) string { return joined + objectARN }, func(r *ticketRig) { r.stand.fail = errors.New("denied") }, "denied"},
		"a parameter that is deleted": {func(*testing.T, *ticketRig) string { return joined + paramARN + "x" }, nil, "no such parameter"},
		"a daemon that refuses": {func(t *testing.T, r *ticketRig) string { return r.file(t, joined, "x", specOf("Web", "")) },
			func(r *ticketRig) { r.daemon.Fail("AddKerberosLease", internal) }, "cannot reach contoso.com (code 3)"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTickets(t)
			// The first is made before the second fails, where that is of another kind.
			s := snapshot(r.file(t, joined, "first.json", specOf("First", "")), c.spec(t, r))
			if c.disturb != nil {
				c.disturb(r)
			}
			out, err := r.provision(t, s)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "credentialspec resource: ") || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err := r.CleanUp(t.Context(), s, &s.Resources[0], out.Data); err != nil || len(r.daemon.Leases()) != 0 {
				t.Errorf("%v, leases %q", err, r.daemon.Leases())
			}
		})
	}
}

// odd is a daemon whose answer has no ticket of the account, or one that is no folder.
type odd struct {
	Fetcher
	tickets []string
}

func (o odd) Add(context.Context, []string) (fetcher.Lease, error) {
	return fetcher.Lease{ID: "1", Tickets: o.tickets}, nil
}

func TestTicketsOfAnOddDaemon(t *testing.T) {
	r := newTickets(t)
	for want, tickets := range map[string][]string{
		"unable to fetch valid credentialspec mapping": {"/krb/1/WebApp", "/krb/1/XWeb"},
		"want the path of a folder":                    {"krb/Web"},
	} {
		r.opts.Fetcher = odd{tickets: tickets}
		if _, err := r.provision(t, snapshot(r.file(t, joined, "web.json", specOf("Web", "")))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", tickets, err, want)
		}
	}
	r.opts.Fetcher = odd{tickets: []string{"/krb/1/WEB"}}
	if out, err := r.provision(t, snapshot(r.file(t, joined, "web.json", specOf("Web", "")))); err != nil || out.Inputs["a"].Binds[0] != "/krb/1/WEB:/var/credentials-fetcher/krbdir:ro" {
		t.Errorf("%v, %v", out.Inputs, err)
	}
	r.daemon.Close()
	r.opts.Fetcher = fetcher.New(filepath.Join(r.dir, "none"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.CleanUp(ctx, snapshot(""), nil, map[string]string{"lease.0": "x"}); err == nil {
		t.Error("a daemon that is not there has given the lease back")
	}
}
