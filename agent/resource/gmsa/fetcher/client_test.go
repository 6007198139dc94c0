package fetcher

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ecsagent/agent/resource/gmsa/fetcher/fetchertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const webSpec = `{"ActiveDirectoryConfig":{"GroupManagedServiceAccounts":[{"Name":"Web"}]}}`

var account = Account{User: "svc", Password: "pass?wörd", Domain: "contoso.com"}

func daemon(t *testing.T) (*Client, *fetchertest.Server) {
	t.Helper()
	s := &fetchertest.Server{Dir: filepath.Join(t.TempDir(), "krbdir")}
	socket := filepath.Join(t.TempDir(), "s")
	if err := s.Serve(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := New(socket)
	c.Pause = time.Millisecond
	return c, s
}

// TestMessages: what is sent, byte for byte as the daemon's published definition has it.
func TestMessages(t *testing.T) {
	a := Account{User: "u", Password: "p", Domain: "d"}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"specs":            {texts(nil, fieldSpecs, "a", ""), "0a0161" + "0a00"},
		"specs as account": {a.append(texts(nil, fieldSpecs, "a"), 2), "0a0161" + "120175" + "1a0170" + "220164"},
		"account":          {a.append(nil, 1), "0a0175" + "120170" + "1a0164"},
		"framed":           {frame([]byte{0x0a, 0}), "0000000002" + "0a00"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	// A field that is not known, and a number, are passed over.
	l, err := readLease([]byte("\x0a\x01L\x12\x02/t\x18\x07\x22\x01x\x12\x02/u"))
	if err != nil || l.ID != "L" || !slices.Equal(l.Tickets, []string{"/t", "/u"}) {
		t.Errorf("%+v, %v", l, err)
	}
	for _, bad := range []string{"", "\x12\x02/t", "\x0a\x05L", "\x0a", "\xff"} {
		if l, err := readLease([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, l)
		}
	}
	for _, bad := range []string{"", "\x00\x00\x00\x00", "\x01\x00\x00\x00\x00", "\x00\x00\x00\x00\x02a"} {
		if m, err := unframe([]byte(bad)); err == nil {
			t.Errorf("%q is read as %q", bad, m)
		}
	}
}

func TestCalls(t *testing.T) {
	c, s := daemon(t)
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	one, err := c.Add(t.Context(), []string{webSpec, strings.ReplaceAll(webSpec, "Web", "Db"), webSpec})
	if err != nil || len(one.Tickets) != 2 || filepath.Base(one.Tickets[1]) != "Db" {
		t.Fatalf("%+v, %v", one, err)
	}
	two, err := c.AddAs(t.Context(), []string{webSpec}, account)
	if err != nil || len(two.Tickets) != 1 || two.ID == one.ID {
		t.Fatalf("%+v, %v", two, err)
	}
	if err := c.Renew(t.Context(), account); err != nil {
		t.Error(err)
	}
	for _, l := range []Lease{one, two} {
		if err := c.Delete(t.Context(), l.ID); err != nil {
			t.Error(err)
		}
	}
	if got, want := s.Calls(), []string{
		"AddKerberosLease of 3 specs", "AddNonDomainJoinedKerberosLease of 1 specs as svc contoso.com pass?wörd",
		"RenewNonDomainJoinedKerberosLease as svc contoso.com pass?wörd",
		"DeleteKerberosLease " + one.ID, "DeleteKerberosLease " + two.ID,
	}; !slices.Equal(got, want) || len(s.Leases()) != 0 {
		t.Errorf("calls %q, want %q; leases %q", got, want, s.Leases())
	}
}

// TestFailures: what may pass is tried three times; a password shows nowhere.
func TestFailures(t *testing.T) {
	internal := &fetchertest.Refusal{Code: 13, Message: "ERROR: no ticket for pass?wörd, 100%"}
	for name, f := range map[string]struct {
		errs  []error
		calls int
		want  string
	}{
		"passes":       {[]error{internal, fetchertest.ErrBroken, nil}, 3, ""},
		"insists":      {[]error{internal, internal, internal, nil}, 3, "credentials-fetcher refuses RenewNonDomainJoinedKerberosLease: ERROR: no ticket for [redacted], 100% (code 13)"},
		"cannot":       {[]error{&fetchertest.Refusal{Code: 3, Message: "no domain"}}, 1, "no domain (code 3)"},
		"too old":      {[]error{&fetchertest.Refusal{Code: 12}}, 1, "without a reason (code 12)"},
		"keeps broken": {[]error{fetchertest.ErrBroken, fetchertest.ErrBroken, fetchertest.ErrBroken}, 3, "for RenewNonDomainJoinedKerberosLease: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := daemon(t)
			s.Fail("RenewNonDomainJoinedKerberosLease", f.errs...)
			err := c.Renew(t.Context(), account)
			if f.want == "" && err != nil || f.want != "" && (err == nil || !strings.Contains(err.Error(), f.want)) {
				t.Errorf("%v, want %q", err, f.want)
			}
			if calls := s.Calls(); len(calls) != f.calls {
				t.Errorf("calls %q, want %d", calls, f.calls)
			}
		})
	}
}

// TestNobody: no daemon, one that ended, something else in its place, a task that stops.
func TestNobody(t *testing.T) {
	c, s := daemon(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail("AddKerberosLease", fetchertest.ErrBroken)
	cancel()
	if _, err := c.Add(ctx, []string{webSpec}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Close()
	if err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "ask credentials-fetcher on "+c.socket) {
		t.Error(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.NotFoundHandler(), Protocols: new(http.Protocols)}
	other.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error)
	go func() { served <- other.Serve(l) }()
	if err := New(socket).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "speaks no gRPC: 404") {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// TestCheckOfAnOldDaemon: it answers, which is what is asked.
func TestCheckOfAnOldDaemon(t *testing.T) {
	c, s := daemon(t)
	s.Fail("HealthCheck", &fetchertest.Refusal{Code: 12, Message: "unknown method"}, &fetchertest.Refusal{Code: 14})
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Check(t.Context()); err == nil {
		t.Error("one that is not available counts as there")
	}
}

func FuzzReadLease(f *testing.F) {
	f.Add([]byte("\x0a\x01L\x12\x02/t"))
	f.Fuzz(func(t *testing.T, message []byte) {
		if l, err := readLease(message); err == nil && l.ID == "" {
			t.Error("a lease without an id")
		}
	})
}
