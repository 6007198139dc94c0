package fetcher

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ecsagent/agent/failpoint"
	"ecsagent/agent/secret"
)

// Bounds (docs/spec/02 section 7.7): of a call, of the tries, and of the pauses between them.
const (
	callLimit  = time.Minute
	attempts   = 3
	firstPause = time.Second
	maxPause   = 5 * time.Second
)

// checkLimit bounds the question whether the daemon is there.
const checkLimit = 2 * time.Second

// maxReply bounds a reply, in bytes.
const maxReply = 1 << 20

const service = "/credentialsfetcher.CredentialsFetcherService/"

// Account is the user of a directory with whose rights tickets are fetched on a host that is
// in no domain.
type Account struct {
	User     string
	Password secret.String
	Domain   string
}

// Lease is what the daemon holds for whoever asked.
type Lease struct {
	ID string
	// Tickets are the folders on the host that hold the accounts' tickets.
	Tickets []string
}

// Client asks the daemon. It is safe for concurrent use, and holds no connection.
type Client struct {
	Pause  time.Duration // before the second try; twice that before the third
	socket string
	http   *http.Client
}

// New makes a client of the daemon that listens on a socket. It asks nothing yet.
func New(socket string) *Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &Client{socket: socket, Pause: firstPause, http: &http.Client{Transport: &http.Transport{
		Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Add has tickets made for accounts on a host that is in their domain. There is one lease
// for all of them.
func (c *Client) Add(ctx context.Context, specs []string) (Lease, error) {
	reply, err := c.insist(ctx, "AddKerberosLease", texts(nil, fieldSpecs, specs...), "")
	return leaseOf(reply, err)
}

// AddAs is Add on a host that is in no domain.
func (c *Client) AddAs(ctx context.Context, specs []string, as Account) (Lease, error) {
	reply, err := c.insist(ctx, "AddNonDomainJoinedKerberosLease", as.append(texts(nil, fieldSpecs, specs...), 2), as.Password)
	return leaseOf(reply, err)
}

// Renew has the tickets renewed that were made with the rights of an account.
func (c *Client) Renew(ctx context.Context, as Account) error {
	_, err := c.insist(ctx, "RenewNonDomainJoinedKerberosLease", as.append(nil, 1), as.Password)
	return err
}

// Delete gives a lease back. One that the daemon does not know is refused.
func (c *Client) Delete(ctx context.Context, lease string) error {
	_, err := c.insist(ctx, "DeleteKerberosLease", texts(nil, fieldLease, lease), "")
	return err
}

// Check reports whether the daemon answers, whatever it says.
func (c *Client) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	_, err := c.call(ctx, "HealthCheck", texts(nil, 1, "ecs-agent"), "")
	var said *Status
	if errors.As(err, &said) && said.Code != codeUnavailable {
		return nil // older ones know no such call
	}
	return err
}

// Codes of gRPC.
const (
	codeInvalidArgument = 3
	codeNotFound        = 5
	codeDenied          = 7
	codeUnimplemented   = 12
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// Status is an answer of the daemon that is a failure.
type Status struct {
	Call    string
	Code    int // of gRPC
	Message string
}

// Error implements error.
func (s *Status) Error() string {
	return fmt.Sprintf("credentials-fetcher refuses %s: %s (code %d)", s.Call, cmp.Or(s.Message, "without a reason"), s.Code)
}

// Retryable reports whether another try may succeed: the daemon says INTERNAL of whatever
// goes wrong, and a directory that it does not reach is among that.
func (s *Status) Retryable() bool {
	switch s.Code {
	case codeInvalidArgument, codeNotFound, codeDenied, codeUnimplemented, codeUnauthenticated:
		return false
	}
	return true
}

// insist makes a call until it succeeds or cannot.
func (c *Client) insist(ctx context.Context, name string, message []byte, hidden secret.String) (reply []byte, err error) {
	for try, pause := 1, c.Pause; ; try++ {
		if reply, err = c.within(ctx, name, message, hidden); err == nil {
			return reply, nil
		}
		var said *Status
		if try == attempts || ctx.Err() != nil || errors.As(err, &said) && !said.Retryable() {
			return nil, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
		pause = min(2*pause, maxPause)
	}
}

func (c *Client) within(ctx context.Context, name string, message []byte, hidden secret.String) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return c.call(ctx, name, message, hidden)
}

// call makes a call once. What is hidden does not show in an error.
func (c *Client) call(ctx context.Context, name string, message []byte, hidden secret.String) (reply []byte, err error) {
	if err = failpoint.Before("fetcher", name); err != nil {
		return nil, err
	}
	if reply, err = c.post(ctx, name, message, hidden); err == nil {
		err = failpoint.After("fetcher", name)
	}
	return reply, err
}

func (c *Client) post(ctx context.Context, name string, message []byte, hidden secret.String) ([]byte, error) {
	failed := func(err error) ([]byte, error) {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address tells nothing
		}
		return nil, fmt.Errorf("ask credentials-fetcher on %s for %s: %w", c.socket, name, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+service+name, bytes.NewReader(frame(message)))
	if err != nil {
		return failed(err)
	}
	request.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"ecs-agent"}}
	if end, ok := ctx.Deadline(); ok {
		request.Header.Set("Grpc-Timeout", strconv.FormatInt(max(1, time.Until(end).Milliseconds()), 10)+"m")
	}
	defer c.http.CloseIdleConnections()
	reply, err := c.http.Do(request)
	if err != nil {
		return failed(err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK || !strings.HasPrefix(reply.Header.Get("Content-Type"), "application/grpc") {
		return failed(fmt.Errorf("what listens there speaks no gRPC: %s", reply.Status))
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply+1))
	if err != nil {
		return failed(err)
	}
	if err := statusOf(name, reply, hidden); err != nil {
		return nil, err
	}
	if body, err = unframe(body); err != nil {
		return failed(err)
	}
	return body, nil
}

// statusOf reads how a call went: behind the reply, or before it where there is none.
func statusOf(name string, reply *http.Response, hidden secret.String) error {
	from := reply.Trailer
	if from.Get("Grpc-Status") == "" {
		from = reply.Header
	}
	code, err := strconv.Atoi(from.Get("Grpc-Status"))
	if err != nil {
		return fmt.Errorf("credentials-fetcher broke off the answer to %s", name)
	}
	if code == 0 {
		return nil
	}
	text := from.Get("Grpc-Message")
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	if hidden != "" {
		text = strings.ReplaceAll(text, hidden.Reveal(), secret.Redacted)
	}
	return &Status{Call: name, Code: code, Message: text}
}

// frame puts a message into the form in which gRPC sends it: not compressed, its length, it.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// unframe is the other way.
func unframe(body []byte) ([]byte, error) {
	switch {
	case len(body) < 5:
		return nil, fmt.Errorf("the reply has %d bytes: want a message of gRPC", len(body))
	case body[0] != 0:
		return nil, errors.New("the reply is compressed, which was not asked for")
	case uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-5):
		return nil, fmt.Errorf("the reply has %d bytes and says that it has %d", len(body)-5, binary.BigEndian.Uint32(body[1:]))
	}
	return body[5:], nil
}
