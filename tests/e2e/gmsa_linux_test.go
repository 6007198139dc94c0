package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ecsagent/agent/resource/gmsa/fetcher/fetchertest"
)

// credentialSpec is one of an account; for a host in no domain with the secret of a user.
func credentialSpec(account, user string) string {
	host := ""
	if user != "" {
		host = `,"HostAccountConfig":{"PortableCcgVersion":"1","PluginGUID":"{859E1386-BDB4-49E8-85C7-3070B13920E1}","PluginInput":{"CredentialArn":"` + user + `"}}`
	}
	return `{"CmsPlugins":["ActiveDirectory"],"ActiveDirectoryConfig":{"GroupManagedServiceAccounts":[{"Name":"` + account + `","Scope":"contoso.com"}]` + host + `}}`
}

// showsTicket prints the ticket that it finds, and stays.
const showsTicket = "cat /var/credentials-fetcher/krbdir/krb5cc; trap 'exit 0' TERM; " + waits

// Credential specs from each source on Linux: credentials-fetcher makes the tickets, each
// container finds that of its account, and cannot write there; leases go with their tasks.
// What is denied, deleted, malformed or refused is the task's reason; an agent that is
// killed in the middle goes on, and no password is anywhere.
func TestCredentialSpecs(t *testing.T) {
	const parameter, user = "arn:aws:ssm:us-west-2:000000000000:parameter/gmsa/", "arn:aws:secretsmanager:us-west-2:000000000000:secret:gmsa-user"
	const ssm = "credentialspec:" + parameter
	dir := socketDir(t)
	daemon := &fetchertest.Server{Dir: filepath.Join(dir, "krbdir")}
	if err := daemon.Serve(t.Context(), filepath.Join(dir, "socket", "f.sock")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(daemon.Close)
	e := prepared(t, "ECS_GMSA_SUPPORTED=true", "CREDENTIALS_FETCHER_HOST=unix://"+filepath.Join(dir, "socket", "f.sock"),
		"ECS_DOMAIN_JOINED_LINUX_INSTANCE=true", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1s")
	e.Services = filepath.Join(e.Dir, "services")
	e.put("ssm/gmsa/web", credentialSpec("WebApp01", ""))
	e.put("ssm/gmsa/bad", "canary text")
	e.put("ssm/gmsa/denied", "x")
	e.put("s3/specs/db.json", credentialSpec("Db01", ""))
	e.put("s3/specs/alone.json", credentialSpec("Alone01", user))
	e.put("secrets/gmsa-user", `{"username":"svc","password":"canary-password","domainName":"contoso.com"}`)
	e.put("faults", "ssm GetParameters "+parameter+"denied denied\nssm GetParameters "+parameter+"web throttled 1\ns3 * specs/db.json throttled 1")
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ecs.capability.gmsa", "ecs.capability.gmsa-domainless"} {
		if !slices.Contains(attributes(e.instance()), want) {
			t.Errorf("the instance does not offer %s", want)
		}
	}
	with := func(name, spec string) M { return sh(name, showsTicket, M{"credentialSpecs": []string{spec}}) }

	// The agent is killed while the daemon works: another asks anew.
	reached, release := daemon.Hold("AddKerberosLease")
	arn := e.launch(withRole(with("web", ssm+"web"), with("db", "credentialspec:arn:aws:s3:::specs/db.json"),
		with("alone", "credentialspecdomainless:arn:aws:s3:::specs/alone.json"), sleeper("side")))
	select {
	case <-reached:
	case <-e.ctx.Done():
		t.Fatal("credentials-fetcher was not asked")
	}
	e.Agent.Kill()
	release()
	e.restart()
	task := e.awaits(arn, "RUNNING")
	for container, account := range map[string]string{"web": "WebApp01", "db": "Db01", "alone": "Alone01"} {
		e.eventually(patience, "the output of "+container, func() (bool, error) {
			return e.output(task, container) == "ticket of "+account+"\n", nil
		})
		info := e.inspect(task, container)
		if len(info.HostConfig.Binds) != 1 || !strings.HasSuffix(info.HostConfig.Binds[0], "/"+account+":/var/credentials-fetcher/krbdir:ro") || len(info.HostConfig.SecurityOpt) > 0 {
			t.Errorf("%s: binds %q, security options %q", container, info.HostConfig.Binds, info.HostConfig.SecurityOpt)
		}
	}
	if side := e.inspect(task, "side"); len(side.HostConfig.Binds) > 0 {
		t.Errorf("side has %q", side.HostConfig.Binds)
	}
	if calls := daemon.Calls(); !slices.Contains(calls, "AddNonDomainJoinedKerberosLease of 1 specs as svc contoso.com canary-password") {
		t.Errorf("calls %q", calls)
	}

	// What is wrong is told.
	daemon.Fail("AddNonDomainJoinedKerberosLease", &fetchertest.Refusal{Code: 3, Message: "no ticket for canary-password"})
	for spec, want := range map[string]string{
		ssm + "bad":    "it is not JSON",
		ssm + "denied": "AccessDeniedException",
		ssm + "none":   "invalid parameters: " + parameter + "none",
		"credentialspec:arn:aws:s3:::specs/none.json":            "NoSuchKey",
		"credentialspecdomainless:arn:aws:s3:::specs/alone.json": "credentials-fetcher refuses AddNonDomainJoinedKerberosLease: no ticket for [redacted] (code 3)",
		"credentialspecdomainless:arn:aws:s3:::specs/db.json":    "want ActiveDirectoryConfig.HostAccountConfig.PluginInput.CredentialArn",
	} {
		refused := e.stopped(e.launch(withRole(with("app", spec))))
		if !strings.HasPrefix(refused.StoppedReason, "Credentialspec resource: ") || !strings.Contains(refused.StoppedReason, want) || strings.Contains(pretty(refused), "canary") {
			t.Errorf("%s: %q, want %q", spec, refused.StoppedReason, want)
		}
	}

	// Leases of tasks that are no more go; the one that the killed agent asked for is the daemon's.
	e.stop(arn)
	e.eventually(patience, "the leases to be given back", func() (bool, error) { return len(daemon.Leases()) == 1, nil })
	e.nowhere("canary")
}
