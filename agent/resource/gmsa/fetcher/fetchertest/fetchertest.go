// Package fetchertest plays credentials-fetcher: it makes a folder with a file for each
// account of a lease, as the daemon does, and removes it with the lease.
package fetchertest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// Ticket is the file in an account's folder, as the daemon names it.
const Ticket = "krb5cc"

// Server plays the daemon. Its fields may be set before it serves.
type Server struct {
	Dir string // where tickets are made

	mu     sync.Mutex
	next   int
	calls  []string
	fail   map[string][]error // by call, in order
	leases map[string]bool
	held   map[string]hold
	server *http.Server
	done   chan struct{}
}

// Refusal is a failure as gRPC tells it.
type Refusal struct {
	Code    int
	Message string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// ErrBroken breaks the connection instead of an answer.
var ErrBroken = errors.New("broken")

// Serve listens on a socket until Close.
func (s *Server) Serve(ctx context.Context, socket string) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s.server = &http.Server{Handler: s, Protocols: protocols} //nolint:gosec // it serves the test alone
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // it ends with Close
	}()
	return nil
}

// Close ends it. Leases stay, as they do when the daemon ends.
func (s *Server) Close() {
	_ = s.server.Close() // what is under way is lost on purpose
	<-s.done
}

// Fail makes the next calls of a name fail, one after the other; nil lets one pass.
func (s *Server) Fail(call string, errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		s.fail = make(map[string][]error)
	}
	s.fail[call] = errs
}

type hold struct{ reached, release chan struct{} }

// Hold keeps the next call of a name from its answer until release is called. reached is
// closed when it has come. What the caller does meanwhile is not heard of.
func (s *Server) Hold(call string) (reached <-chan struct{}, release func()) {
	h := hold{make(chan struct{}), make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[string]hold)
	}
	s.held[call] = h
	return h.reached, func() { close(h.release) }
}

// wait is what Hold asks for.
func (s *Server) wait(call string) {
	s.mu.Lock()
	h, ok := s.held[call]
	delete(s.held, call)
	s.mu.Unlock()
	if ok {
		close(h.reached)
		<-h.release
	}
}

// Calls lists what was asked since the last time, with what is worth a look: the account's
// user, its domain and its password, or the lease.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// Leases lists those that there are.
func (s *Server) Leases() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id := range s.leases {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := filepath.Base(r.URL.Path)
	fields, err := request(r)
	s.wait(call)
	if err == nil {
		err = s.failure(call)
	}
	if errors.Is(err, ErrBroken) {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/grpc")
	var reply []byte
	if err == nil {
		reply, err = s.answer(call, fields)
	}
	if err != nil {
		refused := &Refusal{13, err.Error()} // INTERNAL, as the daemon says of everything
		errors.As(err, &refused)
		w.Header().Set("Grpc-Status", strconv.Itoa(refused.Code))
		w.Header().Set("Grpc-Message", url.PathEscape(refused.Message))
		return
	}
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(reply))), reply...)) // the client sees what is missing
	w.Header().Set("Grpc-Status", "0")
}

func (s *Server) failure(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.fail[call]
	if len(list) == 0 {
		return nil
	}
	s.fail[call] = list[1:]
	if list[0] != nil {
		s.calls = append(s.calls, call+" fails")
	}
	return list[0]
}

// request reads the texts of a message by their fields.
func request(r *http.Request) (map[protowire.Number][]string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" || len(body) < 5 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
		return nil, &Refusal{3, "no message of gRPC"}
	}
	fields := make(map[protowire.Number][]string)
	for body = body[5:]; len(body) > 0; {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 || kind != protowire.BytesType {
			return nil, &Refusal{3, "a field that is no text"}
		}
		text, m := protowire.ConsumeString(body[n:])
		if m < 0 {
			return nil, &Refusal{3, "a text that is cut off"}
		}
		fields[field] = append(fields[field], text)
		body = body[n+m:]
	}
	return fields, nil
}

func (s *Server) answer(call string, fields map[protowire.Number][]string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := func(f protowire.Number) string {
		if len(fields[f]) != 1 {
			return ""
		}
		return fields[f][0]
	}
	account := func(first protowire.Number) string { return text(first) + " " + text(first+2) + " " + text(first+1) }
	switch call {
	case "HealthCheck":
		return appendText(nil, 1, "OK"), nil
	case "AddKerberosLease":
		s.calls = append(s.calls, fmt.Sprintf("%s of %d specs", call, len(fields[1])))
		return s.lease(fields[1])
	case "AddNonDomainJoinedKerberosLease":
		s.calls = append(s.calls, fmt.Sprintf("%s of %d specs as %s", call, len(fields[1]), account(2)))
		return s.lease(fields[1])
	case "RenewNonDomainJoinedKerberosLease":
		s.calls = append(s.calls, call+" as "+account(1))
		return nil, nil
	case "DeleteKerberosLease":
		s.calls = append(s.calls, call+" "+text(1))
		if !s.leases[text(1)] {
			return nil, errors.New("Error: invalid lease id")
		}
		delete(s.leases, text(1))
		return appendText(nil, 1, text(1)), os.RemoveAll(filepath.Join(s.Dir, text(1)))
	}
	return nil, &Refusal{12, "no such call"}
}

// lease needs the lock.
func (s *Server) lease(specs []string) ([]byte, error) {
	s.next++
	id := fmt.Sprintf("lease%d-%d", os.Getpid(), s.next)
	reply := appendText(nil, 1, id)
	var seen []string
	for _, text := range specs {
		var spec struct {
			ActiveDirectoryConfig struct {
				GroupManagedServiceAccounts []struct{ Name string }
			}
		}
		if err := json.Unmarshal([]byte(text), &spec); err != nil || len(spec.ActiveDirectoryConfig.GroupManagedServiceAccounts) == 0 {
			return nil, errors.New("Error: credential spec provided is not properly formatted")
		}
		name := spec.ActiveDirectoryConfig.GroupManagedServiceAccounts[0].Name
		if slices.Contains(seen, name) {
			continue
		}
		seen = append(seen, name)
		dir := filepath.Join(s.Dir, id, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, Ticket), []byte("ticket of "+name+"\n"), 0o644); err != nil { //nolint:gosec // any user of a container reads it
			return nil, err
		}
		reply = appendText(reply, 2, dir)
	}
	if s.leases == nil {
		s.leases = make(map[string]bool)
	}
	s.leases[id] = true
	return reply, nil
}

func appendText(message []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(message, field, protowire.BytesType), text)
}
