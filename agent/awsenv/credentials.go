package awsenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"go.uber.org/zap"
)

// rotatingLifetime makes the rotating file be read again at least once a minute.
const rotatingLifetime = time.Minute

// CredentialsOptions says where the instance's credentials come from (docs/spec/01
// section 1.2.4).
type CredentialsOptions struct {
	External bool
	Region   string // for the calls to STS that some profiles need
	// RotatingFiles are tried in order; nil means RotatingFiles of this system.
	RotatingFiles []string
	Profile       string // profile in the rotating file; empty means "default"
	Proxy         func(*http.Request) (*url.URL, error)
	Log           *zap.Logger
}

// RotatingFiles returns where the rotating credentials are on a system, given as in
// runtime.GOOS: where a container sees them first, then where the host has them.
func RotatingFiles(goos string) []string {
	if goos == "windows" {
		return []string{`C:\Windows\System32\config\systemprofile\.aws\credentials`}
	}
	return []string{"/rotatingcreds/credentials", "/root/.aws/credentials"}
}

// Credentials returns the one cache of the instance's credentials. Nothing is read
// before the first Retrieve, and with keys in the environment nothing but the
// environment is.
func Credentials(o CredentialsOptions) *aws.CredentialsCache {
	if o.RotatingFiles == nil {
		o.RotatingFiles = RotatingFiles(runtime.GOOS)
	}
	if o.Profile == "" {
		o.Profile = "default"
	}
	var sources []source
	if o.External {
		sources = append(sources, source{"environment", environment})
	} else {
		sources = append(sources, source{"environment", environment}, source{"default chain", defaultChain(o)})
	}
	for _, file := range o.RotatingFiles {
		sources = append(sources, source{"rotating file " + file, rotatingFile(file, o.Profile)})
	}
	if o.External {
		sources = append(sources, source{"shared credentials file", sharedFile}, source{"instance role", instanceRole()})
	}
	return aws.NewCredentialsCache(&chain{sources: sources, log: o.Log})
}

type retrieve func(context.Context) (aws.Credentials, error)

type source struct {
	name string
	get  retrieve
}

// chain asks its sources in order; the first that yields keys wins. Its cache
// serialises the calls of Retrieve.
type chain struct {
	sources []source
	log     *zap.Logger
	used    string // source and key that were last logged
}

// Retrieve implements aws.CredentialsProvider.
func (c *chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	var failures []error
	for _, s := range c.sources {
		creds, err := s.get(ctx)
		if err == nil && creds.HasKeys() {
			if used := s.name + " " + creds.AccessKeyID; used != c.used {
				c.used = used
				c.log.Info("credentials found", zap.String("source", s.name), zap.String("key", redactKey(creds.AccessKeyID)))
			}
			return creds, nil
		}
		if err == nil {
			err = errors.New("no keys")
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
	}
	return aws.Credentials{}, fmt.Errorf("find credentials: %w", errors.Join(failures...))
}

// redactKey shows of an access key id what may be logged (docs/spec/03 section 1.9).
func redactKey(id string) string {
	if len(id) <= 8 {
		return "XXXX"
	}
	return "XXXX" + id[len(id)-4:]
}

// environment reads the keys as the SDK does. They come before profiles in the
// SDK's chain too, so that finding them here saves reading the shared files.
func environment(context.Context) (aws.Credentials, error) {
	creds := aws.Credentials{
		AccessKeyID:     firstEnv("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
		SecretAccessKey: firstEnv("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
		Source:          "environment",
	}
	if !creds.HasKeys() {
		return aws.Credentials{}, errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set")
	}
	return creds, nil
}

// defaultChain is the SDK's own order. The provider that it resolves to is kept
// once found, because it has a cache and a strategy for outages of its own.
func defaultChain(o CredentialsOptions) retrieve {
	var resolved aws.CredentialsProvider
	return func(ctx context.Context) (aws.Credentials, error) {
		if resolved == nil {
			client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.Proxy = exceptIMDS(o.Proxy) })
			cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithRegion(o.Region))
			if err != nil {
				return aws.Credentials{}, err
			}
			if cfg.Credentials == nil {
				return aws.Credentials{}, errors.New("the SDK found no source")
			}
			resolved = cfg.Credentials
		}
		return resolved.Retrieve(ctx)
	}
}

// exceptIMDS never uses a proxy for the metadata services, whatever NO_PROXY says.
func exceptIMDS(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if proxy == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) {
		switch r.URL.Hostname() {
		case "169.254.169.254", "fd00:ec2::254", "169.254.170.2":
			return nil, nil
		}
		return proxy(r)
	}
}

func rotatingFile(file, profile string) retrieve {
	return func(ctx context.Context) (aws.Credentials, error) {
		creds, err := profileKeys(ctx, file, profile)
		creds.CanExpire, creds.Expires = true, time.Now().Add(rotatingLifetime)
		return creds, err
	}
}

func sharedFile(ctx context.Context) (aws.Credentials, error) {
	file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("find the shared credentials file: %w", err)
		}
		file = filepath.Join(home, ".aws", "credentials")
	}
	profile := firstEnv("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
	if profile == "" {
		profile = "default"
	}
	return profileKeys(ctx, file, profile)
}

func profileKeys(ctx context.Context, file, profile string) (aws.Credentials, error) {
	shared, err := config.LoadSharedConfigProfile(ctx, profile, func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{file}, []string{}
	})
	if err != nil {
		return aws.Credentials{}, err
	}
	return shared.Credentials, nil
}

func instanceRole() retrieve {
	return aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = newIMDSClient() })).Retrieve
}

func firstEnv(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}
