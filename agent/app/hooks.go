package app

import (
	"context"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/credentials"
	"ecsagent/agent/engine"
	"ecsagent/agent/network"
	"ecsagent/agent/resource/cgroup"
	"ecsagent/agent/resource/connect"
	"ecsagent/agent/resource/ebs"
	"ecsagent/agent/resource/envfile"
	"ecsagent/agent/resource/execcmd"
	"ecsagent/agent/resource/firelens"
	"ecsagent/agent/resource/fsx"
	"ecsagent/agent/resource/gmsa"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/resource/secrets"
	"ecsagent/agent/s3"
	"ecsagent/agent/task"
)

// hooks make the resources of tasks (docs/architecture.md, "How to add a resource").
// Those of one task are made at the same time and removed in reverse order.
func (a *agent) hooks(roles *credentials.Store) []engine.Hook {
	var list []engine.Hook
	if a.cgroups != nil {
		list = append(list, cgroup.Hook{Manager: a.cgroups})
	}
	fetched := secrets.Options{JSONOptions: a.onBehalf(roles), Region: a.cfg.Region, Role: roleOf(roles)}
	files := objects.New(objects.Options{Client: a.s3(), Credentials: fetched.Credentials, Role: fetched.Role})
	ssm, asm := secrets.NewSSM(fetched), secrets.NewASM(fetched)
	list = append(list, a.hostHooks(roles, files, ssm, asm)...)
	return append(list, a.volumes(), ssm, asm, envfile.New(envfile.Options{
		Dir: filepath.Join(a.cfg.DataDir, "envfiles"), Cluster: a.me.Cluster, Objects: files, Log: a.log,
	}), firelens.New(firelens.Options{
		OS: a.host.OSType, Dir: filepath.Join(a.cfg.DataDir, fireLensFolder), HostDir: hostDir(a.cfg, fireLensFolder),
		Cluster: a.me.Cluster, InstanceID: a.ec2InstanceID, Objects: files, Log: a.log,
	}), a.proxies(), execcmd.New(a.execOptions()))
}

// volumes has EBS volumes mounted for tasks. Records of announcements and the engine are there
// before it sweeps.
func (a *agent) volumes() ebs.Hook {
	return ebs.Hook{
		Stager: a.ebsStager(), Log: a.log,
		Tasks:   func() []*task.Snapshot { return a.engine.Snapshots() },
		Records: func() []network.Attachment { return a.attachments.All() },
		Forget:  func(ctx context.Context, arn string) error { return a.attachments.RemoveTask(ctx, arn) },
	}
}

// execOptions are where the files of ECS Exec are.
func (a *agent) execOptions() execcmd.Options {
	o := execFolders(a.cfg, a.host.OSType)
	o.IPv6Only, o.Log = a.ipv6Only, a.log
	return o
}

func execFolders(cfg *config.Config, os string) execcmd.Options {
	logs := cfg.TaskLogDir
	if os == "windows" {
		logs = cfg.RunDir
	}
	return execcmd.Options{OS: os, Dir: filepath.Join(cfg.ManagedAgentsDir, "execute-command"), LogDir: filepath.Join(logs, "exec")}
}

const fireLensFolder = "firelens"

// hostDir is a folder of the data directory as the Docker daemon sees it.
func hostDir(cfg *config.Config, folder string) string {
	if cfg.Explicit("ECS_HOST_DATA_DIR") {
		return filepath.Join(cfg.HostDataDir, "data", folder)
	}
	return filepath.Join(cfg.DataDir, folder)
}

// s3 reads from S3, on whose behalf it is told.
func (a *agent) s3() *s3.Client {
	return s3.New(s3.Options{
		JSONOptions: awsenv.JSONOptions{HTTP: a.verified, IPv6Only: a.ipv6Only, UserAgent: a.userAgent, Getenv: os.Getenv, Log: a.log},
		Region:      a.cfg.Region, FIPS: a.cfg.FIPS,
	})
}

// onBehalf is how services are asked with the credentials of execution roles.
func (a *agent) onBehalf(roles *credentials.Store) awsenv.JSONOptions {
	return awsenv.JSONOptions{
		HTTP: a.verified, IPv6Only: a.ipv6Only, UserAgent: a.userAgent, Log: a.log,
		Credentials: func(id string) aws.CredentialsProvider { return executionRole(roles, id) },
	}
}

// renewer holds something of tasks outside of the agent that lives no longer than the
// credentials of an execution role.
type renewer interface {
	Renew(ctx context.Context, s *task.Snapshot) error
}

// renewWith has a renewer hear of credentials that come.
func (a *agent) renewWith(r renewer) {
	a.renew = func(ctx context.Context, id string) {
		for _, s := range a.engine.Snapshots() {
			if s.ExecutionCredentialsID != id {
				continue
			}
			if err := r.Renew(ctx, s); err != nil && ctx.Err() == nil {
				a.log.Error("credentials of a group managed service account not renewed", zap.String("task", s.ARN), zap.Error(err))
			}
		}
	}
}

// roleOf tells the role behind a set of credentials.
func roleOf(roles *credentials.Store) func(id string) (string, bool) {
	return func(id string) (string, bool) {
		set, ok := roles.Get(id)
		return set.RoleARN, ok
	}
}

// Previews are the hooks that an agent with these settings would have, as far as they
// can tell what they would make; os is the containers' operating system.
func Previews(cfg *config.Config, os string) []engine.Hook {
	var list []engine.Hook
	if os == "linux" && cfg.TaskCPUMemLimit {
		list = append(list, cgroup.Hook{})
	}
	var fetched secrets.Options
	if os == "linux" && cfg.GMSA {
		list = append(list, gmsa.NewTickets(gmsa.TicketOptions{}))
	}
	if os == "windows" {
		if cfg.GMSA {
			list = append(list, gmsa.New(gmsa.Options{Domainless: cfg.GMSADomainless}))
		}
		if cfg.FSxWindowsFileServer {
			list = append(list, fsx.New(fsx.Options{}))
		}
	}
	volumes := ebs.Hook{}
	if os == "linux" {
		volumes.Stager = ebs.NewClient("")
	}
	return append(list, volumes, secrets.NewSSM(fetched), secrets.NewASM(fetched), envfile.New(envfile.Options{}),
		firelens.New(firelens.Options{OS: os, HostDir: hostDir(cfg, fireLensFolder)}),
		connect.New(connectFolders(cfg)), execcmd.New(execFolders(cfg, os)))
}

var (
	_ engine.Sweeper = cgroup.Hook{}
	_ engine.Sweeper = ebs.Hook{}
	_ engine.Sweeper = (*envfile.Hook)(nil)
	_ engine.Sweeper = (*firelens.Hook)(nil)
	_ engine.Sweeper = (*connect.Hook)(nil)
	_ engine.Drainer = (*connect.Hook)(nil)
)
