package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/capability"
	"ecsagent/agent/credentials"
	"ecsagent/agent/engine"
	"ecsagent/agent/resource/fsx"
	"ecsagent/agent/resource/gmsa"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/resource/secrets"
	windows "ecsagent/platform_windows"
)

// hostHooks make the resources of tasks that depend on the operating system.
func (a *agent) hostHooks(roles *credentials.Store, files *objects.Reader, ssm, asm *secrets.Hook) (list []engine.Hook) {
	fetched := a.onBehalf(roles)
	f := a.hostFacts(context.Background())
	if f.GMSA || f.GMSADomainless {
		h := gmsa.New(gmsa.Options{
			Dir: filepath.Join(os.Getenv("ProgramData"), "docker", "credentialspecs"), Registry: gmsa.System{},
			Sources:     gmsa.Sources{Objects: files, Parameters: ssm},
			Credentials: func(id string) aws.CredentialsProvider { return fetched.Credentials(id) }, Domainless: f.GMSADomainless, Log: a.log,
		})
		a.renewWith(h)
		list = append(list, h)
	}
	if f.FSx {
		list = append(list, fsx.New(fsx.Options{JSONOptions: fetched, Region: a.cfg.Region, Parameters: ssm, Secrets: asm, Drives: fsx.System()}))
	}
	return list
}

// hostFacts is what the operating system decides about attributes (docs/spec/03 section 4.6).
func (a *agent) hostFacts(context.Context) (f capability.Facts) {
	release := a.host.OSFamily
	old := !strings.HasPrefix(release, "WINDOWS_SERVER_") || strings.HasPrefix(release, "WINDOWS_SERVER_2016")
	f.FSx = a.cfg.FSxWindowsFileServer && !old
	if !a.cfg.GMSA {
		return f
	}
	joined, err := windows.DomainJoined()
	if err != nil {
		a.log.Warn("not known whether the host is in a domain", zap.Error(err))
	}
	f.GMSA = joined || a.cfg.SkipDomainJoinCheck
	if a.cfg.GMSADomainless && !old {
		if f.GMSADomainless, err = windows.DomainlessGMSA(); err != nil {
			a.log.Warn("plug-in for hosts in no domain not looked for", zap.Error(err))
		}
	}
	return f
}
