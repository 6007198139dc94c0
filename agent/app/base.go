package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/doctor"
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/logging"
	"ecsagent/agent/metrics"
	"ecsagent/agent/platform"
	"ecsagent/agent/version"
)

// base is what every use of the agent needs: its settings, a log, the host's facts
// and the way to AWS. Making it talks to nobody but instance metadata.
type base struct {
	options     Options
	cfg         *config.Config
	log         *zap.Logger
	closeLog    func() error
	host        platform.Host
	imds        *awsenv.IMDS
	proxy       *awsenv.Proxy
	credentials *aws.CredentialsCache
	http        *http.Client
	verified    *http.Client // for services other than ECS and ECR: their certificates count in any case
	tls         awsenv.TLSOptions
	userAgent   string
	ipv6Only    bool
	clock       *doctor.Clock  // hears of ECS's answers
	meter       *metrics.Meter // nil: nobody counts
}

func newBase(ctx context.Context, o Options) (*base, error) {
	if err := config.Export(o.Sources, os.Setenv); err != nil {
		return nil, err
	}
	b := &base{options: o, clock: doctor.NewClock(time.Now)}
	o.Sources = WithMetadata(o.Sources)
	var hostErr error
	b.host, hostErr = GatherHost(ctx)
	o.Sources.IPv6Only = func() bool { return b.host.IP.IPv6Only("") }
	cfg, findings, err := config.Load(ctx, o.Sources)
	if err != nil {
		return nil, err
	}
	b.cfg = cfg
	b.meter = b.newMeter()
	if b.log, b.closeLog, err = openLog(cfg, o); err != nil {
		return nil, err
	}
	tellFindings(b.log, findings)
	if hostErr != nil {
		b.log.Warn("facts of the host incomplete", zap.Error(hostErr))
	}
	b.ipv6Only = b.host.IP.IPv6Only(cfg.InstanceIPFamily)
	b.imds = awsenv.BlackholedIMDS()
	if !cfg.BlackholeMetadata && !cfg.External {
		b.imds = awsenv.NewIMDS(b.log)
	}
	return b, b.reachAWS()
}

// reachAWS prepares what calls to AWS need. No call is made.
func (b *base) reachAWS() error {
	b.proxy = awsenv.NewProxy(os.Getenv, b.cfg.DockerEndpoint)
	b.tls = awsenv.TLSOptions{InsecureSkipVerify: b.cfg.AcceptInsecureCertificates, CABundle: b.cfg.AWS.CABundle}
	if b.tls.InsecureSkipVerify {
		b.log.Warn("tls certificates of ecs are not verified")
	}
	tls, err := awsenv.TLSConfig(b.tls)
	if err != nil {
		return err
	}
	b.http = awsenv.HTTPClient(awsenv.HTTPOptions{Proxy: b.proxy.ForRequest, TLS: tls})
	b.verified = b.http
	if b.tls.InsecureSkipVerify {
		if tls, err = awsenv.TLSConfig(awsenv.TLSOptions{CABundle: b.tls.CABundle}); err != nil {
			return err
		}
		b.verified = awsenv.HTTPClient(awsenv.HTTPOptions{Proxy: b.proxy.ForRequest, TLS: tls})
	}
	rotating := awsenv.RotatingFiles(b.host.OSType)
	if b.cfg.RotatingCredentialsFile != "" {
		rotating = append([]string{b.cfg.RotatingCredentialsFile}, rotating...)
	}
	b.credentials = awsenv.Credentials(awsenv.CredentialsOptions{
		External: b.cfg.External, Region: b.cfg.Region, RotatingFiles: rotating,
		Profile: b.cfg.AlternateCredentialProfile, Proxy: b.proxy.ForRequest, Log: b.log,
	})
	build := ecsapi.Build{Version: version.Number(), Hash: version.ShortCommit(), Dirty: version.Dirty()}
	b.userAgent = ecsapi.UserAgent(build, b.host.OSType, b.cfg.DetailedOSFamily)
	return nil
}

// ecs makes the client of the ECS API.
func (b *base) ecs() (*ecsapi.Client, error) {
	endpoint, err := ecsapi.Endpoint(ecsapi.EndpointOptions{Override: b.cfg.APIEndpoint, Region: b.cfg.Region, IPv6Only: b.ipv6Only})
	if err != nil {
		return nil, err
	}
	observed := *b.http
	observed.Transport = b.clock.Transport(b.http.Transport)
	return ecsapi.New(ecsapi.Options{
		Endpoint: endpoint, Region: b.cfg.Region, Credentials: b.credentials,
		HTTPClient: &observed, UserAgent: b.userAgent, Log: b.log,
	}), nil
}

func (b *base) close() {
	if err := b.closeLog(); err != nil {
		fmt.Fprintln(b.options.Stderr, "ecs-agent: close the log:", err)
	}
}

func openLog(cfg *config.Config, o Options) (*zap.Logger, func() error, error) {
	log, _, closeLog, err := logging.New(logging.Options{
		Level: cfg.Log.Level, FileLevel: cfg.Log.LevelOnInstance, File: cfg.Log.File, Format: cfg.Log.Format,
		Rollover: cfg.Log.Rollover, MaxFileSizeMB: cfg.Log.MaxFileSizeMB, MaxRollCount: cfg.Log.MaxRollCount,
		Console: o.Stdout, Stderr: o.Stderr, EventLog: o.EventLog,
	})
	return log, closeLog, err
}

// tellFindings logs once what is wrong with the configuration.
func tellFindings(log *zap.Logger, findings []config.Finding) {
	for _, f := range findings {
		if f.Severity == config.Notice {
			log.Info("configuration", zap.Stringer("finding", f))
		} else {
			log.Warn("configuration", zap.Stringer("finding", f))
		}
	}
}

// WithMetadata lets configuration look into instance metadata, where there is any.
func WithMetadata(s config.Sources) config.Sources {
	s.IMDS = lazyIMDS{awsenv.NewIMDS(zap.NewNop())}
	return s
}

// lazyIMDS is the instance metadata as configuration needs it.
type lazyIMDS struct{ imds *awsenv.IMDS }

func (l lazyIMDS) UserData(ctx context.Context) ([]byte, error) {
	text, err := l.imds.UserData(ctx)
	if errors.Is(err, awsenv.ErrNotFound) {
		return nil, nil
	}
	return []byte(text), err
}

func (l lazyIMDS) Region(ctx context.Context) (string, error) {
	region, err := l.imds.Region(ctx, false)
	if err != nil {
		return l.imds.Region(ctx, true)
	}
	return region, nil
}
