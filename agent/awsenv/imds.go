package awsenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"go.uber.org/zap"
)

// Errors of the instance metadata service that callers tell apart.
var (
	// ErrBlackholed is every answer of a blackholed IMDS.
	ErrBlackholed = errors.New("blackholed")
	// ErrNotFound is the answer for a path that the instance does not have.
	ErrNotFound = errors.New("no such instance metadata")
)

const (
	imdsAttempts      = 5
	imdsDialTimeout   = 250 * time.Millisecond // a host without IMDS must not wait long
	imdsHeaderTimeout = 500 * time.Millisecond
	imdsMaxReply      = 1 << 20
	imdsTries         = 5 // of Retry
)

// IMDS reads the EC2 instance metadata service (docs/spec/01 section 1.2.6). It is
// safe for concurrent use.
type IMDS struct {
	client *imds.Client // nil when blackholed
	log    *zap.Logger

	mu    sync.Mutex
	cache map[string]string // path to answer, for paths that never change
}

// NewIMDS makes a client. It honours AWS_EC2_METADATA_SERVICE_ENDPOINT,
// AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE, AWS_EC2_METADATA_DISABLED and
// AWS_EC2_METADATA_V1_DISABLED of the process environment, and never uses a proxy.
func NewIMDS(log *zap.Logger) *IMDS {
	return &IMDS{client: newIMDSClient(), log: log, cache: make(map[string]string)}
}

// BlackholedIMDS makes an IMDS that answers everything with ErrBlackholed: for
// external instances and for the flag -blackhole-ec2-metadata.
func BlackholedIMDS() *IMDS { return &IMDS{log: zap.NewNop()} }

// Blackholed reports whether there is no metadata service to ask.
func (m *IMDS) Blackholed() bool { return m.client == nil }

// Get reads a path under /latest/, such as "meta-data/instance-id" or "user-data".
func (m *IMDS) Get(ctx context.Context, path string) (string, error) {
	if m.client == nil {
		return "", ErrBlackholed
	}
	body, err := m.open(ctx, path)
	if err != nil {
		if StatusCode(err) == http.StatusNotFound {
			return "", fmt.Errorf("read instance metadata %s: %w", path, ErrNotFound)
		}
		return "", fmt.Errorf("read instance metadata %s: %w", path, err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		return "", fmt.Errorf("read instance metadata %s: %w", path, err)
	}
	return string(content), nil
}

// StatusCode returns the HTTP status that the metadata service refused with, or 0
// when err is something else.
func StatusCode(err error) int {
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// Retry calls get up to five times with 1 to 5 s between, until it succeeds or says
// that the service is blackholed.
func (m *IMDS) Retry(ctx context.Context, get func(context.Context) (string, error)) (string, error) {
	delay := Backoff{Min: time.Second, Max: 5 * time.Second, Jitter: 0.2, Multiplier: 1.3}
	for try := 1; ; try++ {
		v, err := get(ctx)
		if err == nil || errors.Is(err, ErrBlackholed) || try == imdsTries {
			return v, err
		}
		m.log.Debug("instance metadata not read, trying again", zap.Int("attempt", try), zap.Error(err))
		if sleepErr := Sleep(ctx, delay.Next()); sleepErr != nil {
			return "", fmt.Errorf("%w: %w", sleepErr, err)
		}
	}
}

// cached is Get for a path whose answer is kept for the life of the process.
func (m *IMDS) cached(ctx context.Context, path string) (string, error) {
	m.mu.Lock()
	v, ok := m.cache[path]
	m.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := m.Get(ctx, path)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	m.cache[path] = v
	m.mu.Unlock()
	return v, nil
}

func (m *IMDS) open(ctx context.Context, path string) (io.ReadCloser, error) {
	kind, rest, _ := strings.Cut(path, "/")
	switch kind {
	case "user-data":
		out, err := m.client.GetUserData(ctx, nil)
		if err != nil {
			return nil, err
		}
		return out.Content, nil
	case "dynamic":
		out, err := m.client.GetDynamicData(ctx, &imds.GetDynamicDataInput{Path: rest})
		if err != nil {
			return nil, err
		}
		return out.Content, nil
	case "meta-data":
		out, err := m.client.GetMetadata(ctx, &imds.GetMetadataInput{Path: rest})
		if err != nil {
			return nil, err
		}
		return out.Content, nil
	}
	return nil, fmt.Errorf("unknown kind of instance metadata %q", kind)
}

func newIMDSClient() *imds.Client {
	options := imds.Options{
		HTTPClient: boundedClient{imdsHTTPClient()},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = imdsAttempts
			o.RateLimiter = ratelimit.None
		}),
	}
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), "ipv6") {
		options.EndpointMode = imds.EndpointModeStateIPv6
	}
	if isTrue(os.Getenv("AWS_EC2_METADATA_V1_DISABLED")) {
		options.EnableFallback = aws.FalseTernary
	}
	return imds.New(options)
}

func imdsHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = imdsDialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = imdsHeaderTimeout
			t.Proxy = nil
		})
}

// boundedClient cuts replies off, because the SDK reads them whole.
type boundedClient struct{ next imds.HTTPClient }

func (c boundedClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.next.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = boundedBody{io.LimitReader(resp.Body, imdsMaxReply), resp.Body}
	return resp, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}
