// Package s3 reads objects of S3.
//
// It makes one call, GetObject, without the SDK's client for the whole service.
package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ecsagent/agent/awsenv"
)

const service = "s3"

// maxBuckets bounds what is remembered of where buckets are.
const maxBuckets = 256

// fipsRegions are those in which a host in FIPS mode asks S3's endpoints for such hosts
// (docs/spec/03 section 7.2).
var fipsRegions = []string{
	"us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1", "ca-central-1", "ca-west-1",
}

// Options are the client's parts and settings. HTTP, Getenv and Log are required; how
// long an attempt may take is the HTTP client's.
type Options struct {
	awsenv.JSONOptions
	Region string // of the instance; buckets are looked for there first
	FIPS   bool   // the host is in FIPS mode
}

// Client is safe for concurrent use.
type Client struct {
	opts Options

	mu      sync.Mutex
	regions map[string]string // by bucket, where it is not in the instance's
}

// New makes a client.
func New(o Options) *Client { return &Client{opts: o, regions: make(map[string]string)} }

// elsewhere is the answer that a bucket is in another region.
type elsewhere struct {
	region string
	*awsenv.Refusal
}

// Unwrap returns the refusal.
func (e *elsewhere) Unwrap() error { return e.Refusal }

// Get returns an object, which may have 4 MiB. When the bucket is in another region than
// was thought, S3 tells which, and it is asked for there.
func (c *Client) Get(ctx context.Context, credentials aws.CredentialsProvider, bucket, key string) ([]byte, error) {
	region := c.regionOf(bucket)
	body, err := c.get(ctx, credentials, region, bucket, key)
	var other *elsewhere
	if errors.As(err, &other) && other.region != region {
		c.note(bucket, other.region)
		body, err = c.get(ctx, credentials, other.region, bucket, key)
	}
	return body, err
}

func (c *Client) regionOf(bucket string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.regions[bucket]; ok {
		return r
	}
	return c.opts.Region
}

func (c *Client) note(bucket, region string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.regions) >= maxBuckets {
		clear(c.regions)
	}
	c.regions[bucket] = region
}

func (c *Client) get(ctx context.Context, credentials aws.CredentialsProvider, region, bucket, key string) (object []byte, err error) {
	address, err := c.address(region, bucket, key)
	if err != nil {
		return nil, err
	}
	caller := awsenv.Caller{
		Service: service, Region: region, Credentials: credentials, Client: c.opts.HTTP,
		UserAgent: c.opts.UserAgent, Attempts: c.opts.Attempts, Log: c.opts.Log,
	}
	nothing := sha256.Sum256(nil)
	err = caller.Do(ctx, awsenv.Call{
		Operation: "GetObject", Method: http.MethodGet, URL: address,
		Header: http.Header{"X-Amz-Content-Sha256": {hex.EncodeToString(nothing[:])}},
		Decode: func(status int, header http.Header, body []byte) error {
			if status != http.StatusOK {
				return refusal(status, header, body)
			}
			object = body
			return nil
		},
	})
	return object, err
}

// address is the URL of an object. Buckets are names of hosts where AWS is asked, unless
// they have a dot, which its certificates do not cover.
func (c *Client) address(region, bucket, key string) (string, error) {
	flag := func(name string) bool { return strings.EqualFold(c.opts.Getenv(name), "true") }
	endpoint, err := awsenv.Endpoint(awsenv.EndpointOptions{Service: service, Region: region, Getenv: func(name string) string {
		if strings.HasPrefix(name, "AWS_USE_") {
			return "" // S3 has names of its own for these
		}
		return c.opts.Getenv(name)
	}})
	if err != nil {
		return "", err
	}
	path := "/" + escape(key)
	partition := awsenv.PartitionOf(region)
	plain := "https://s3." + region + "." + partition.DNSSuffix
	if endpoint != plain {
		return strings.TrimSuffix(endpoint, "/") + "/" + escape(bucket) + path, nil
	}
	host := "s3"
	if flag("AWS_USE_FIPS_ENDPOINT") || c.opts.FIPS && slices.Contains(fipsRegions, region) {
		host = "s3-fips"
	}
	if partition.DualStack && (c.opts.IPv6Only || flag("AWS_USE_DUALSTACK_ENDPOINT")) {
		host += ".dualstack"
	}
	host += "." + region + "." + partition.DNSSuffix
	if strings.Contains(bucket, ".") {
		return "https://" + host + "/" + escape(bucket) + path, nil
	}
	return "https://" + bucket + "." + host + path, nil
}

// escape writes a key into a path as SigV4 wants it: everything but letters, digits and
// -._~/ is escaped.
func escape(key string) string {
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "+", "%20")
	}
	return strings.Join(parts, "/")
}

// refusal reads an error of S3.
func refusal(status int, header http.Header, body []byte) error {
	var said struct{ Code, Message, Region string }
	_ = xml.Unmarshal(body, &said) // a proxy's page is none
	if said.Code == "" {
		said.Code = "UnknownError"
	}
	r := &awsenv.Refusal{Code: said.Code, Message: said.Message, HTTPStatus: status}
	region := header.Get("X-Amz-Bucket-Region")
	if region == "" {
		region = said.Region
	}
	moved := status/100 == 3 || said.Code == "AuthorizationHeaderMalformed"
	if moved && region != "" {
		return &elsewhere{region, r}
	}
	return r
}
