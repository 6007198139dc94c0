package app

import (
	"context"

	"go.uber.org/zap"

	"ecsagent/agent/capability"
	"ecsagent/agent/credentials"
	"ecsagent/agent/engine"
	"ecsagent/agent/resource/gmsa"
	"ecsagent/agent/resource/gmsa/fetcher"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/resource/secrets"
	linux "ecsagent/platform_linux"
)

// hostHooks make the resources of tasks that depend on the operating system.
func (a *agent) hostHooks(_ *credentials.Store, files *objects.Reader, ssm, asm *secrets.Hook) []engine.Hook {
	if !a.cfg.GMSA {
		return nil
	}
	h := gmsa.NewTickets(gmsa.TicketOptions{
		Sources: gmsa.Sources{Objects: files, Parameters: ssm}, Secrets: asm,
		Fetcher: fetcher.New(a.cfg.CredentialsFetcherSocket), Log: a.log,
	})
	a.renewWith(h)
	return []engine.Hook{h}
}

// hostFacts is what the operating system decides about attributes (docs/spec/03 section 4.6).
// Managed service accounts are offered where credentials-fetcher answers.
func (a *agent) hostFacts(ctx context.Context) (f capability.Facts) {
	if !a.cfg.GMSA {
		return f
	}
	err := fetcher.New(a.cfg.CredentialsFetcherSocket).Check(ctx)
	if err != nil {
		a.log.Warn("group managed service accounts are not offered", zap.Error(err))
	}
	f.GMSADomainless = err == nil || a.cfg.SkipDomainlessCheck
	if f.GMSA = a.cfg.SkipDomainJoinCheck; f.GMSA || err != nil {
		return f
	}
	f.GMSA = a.cfg.CredentialsFetcherSecretName != "" || a.cfg.DomainJoinedLinux
	if f.GMSA || a.cfg.Explicit("ECS_DOMAIN_JOINED_LINUX_INSTANCE") {
		return f
	}
	if f.GMSA, err = linux.DomainJoined(ctx); err != nil {
		a.log.Warn("not known whether the host is in a domain", zap.Error(err))
	}
	return f
}
