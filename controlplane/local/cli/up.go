package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ecsagent/controlplane/disks"
	"ecsagent/controlplane/local"
	"ecsagent/controlplane/local/client"
	"ecsagent/controlplane/service"
	"ecsagent/controlplane/session"
	"ecsagent/controlplane/vpc"
)

// detachWait is how long a detached server may take to answer.
const detachWait = 15 * time.Second

type upFlags struct {
	listen     string
	dataDir    string
	region     string
	account    string
	imds       bool
	vpc        bool
	vpcName    string
	vpcSubnet  string
	vpcSubnet6 string
	vpcOnly6   bool
	vpcHost    string
	attachWait time.Duration
	services   string
	volumes    string
	exec       string
	// agentUpdate is the file of another agent.
	agentUpdate string
	detach      bool
	foreground  bool
	report      bool
	logLevel    string

	credentialsLife time.Duration
}

// minCredentialsLife leaves time for a renewal to reach an agent.
const minCredentialsLife = 2 * time.Second

// minAttachWait leaves time for an interface to be made at all.
const minAttachWait = time.Second

func (a *app) upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use: "up", Short: "Serve a local ECS until Ctrl-C", Args: cobra.NoArgs,
		Long: `Up serves the ECS API and the agents' channels on one address, which should be on
loopback: anybody who reaches it can start containers on the machines of its
agents. State is in memory unless --data-dir is given.

With --services, files of a folder are what tasks get from other services of AWS. They
are read when they are asked for:

  ssm/NAME                       a parameter of Parameter Store (ssm/prod/db is /prod/db)
  ssm-versions/NAME/SELECTOR     a version or label of it
  secrets/NAME                   a secret of Secrets Manager
  secrets-versions/NAME/VERSION  its version of an id or a stage, such as AWSPREVIOUS
  s3/BUCKET/KEY                  an object of S3, for environment files
  ecr/ACCOUNT                    {"username":"AWS","password":"…"} of a registry
  REGION/ssm/NAME, …             the same in another region
  faults                         what goes wrong, a line each: SERVICE OPERATION NAME,
                                 with * for any, and denied, throttled, unavailable,
                                 expired or slow TIME, each with a number of times

Agents and the AWS CLI find them with AWS_ENDPOINT_URL, or with AWS_ENDPOINT_URL_SSM,
AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL_ECR.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.region == "" {
				f.region = a.region()
			}
			if f.credentialsLife < minCredentialsLife {
				return usagef("--credentials-life %v: want at least %v", f.credentialsLife, minCredentialsLife)
			}
			if f.attachWait < minAttachWait {
				return usagef("--vpc-attach-wait %v: want at least %v", f.attachWait, minAttachWait)
			}
			if _, err := f.network(); err != nil {
				return err
			}
			f.imds = f.imds || f.vpc
			if f.detach {
				return a.detach(cmd.Context(), f)
			}
			return a.serve(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", local.DefaultListen, "`HOST:PORT` to serve on; port 0 takes a free one")
	flags.StringVar(&f.dataDir, "data-dir", "", "`FOLDER` that keeps the state")
	flags.StringVar(&f.region, "region", "", "`REGION` in ARNs (default $AWS_REGION, $AWS_DEFAULT_REGION or "+service.DefaultRegion+")")
	flags.StringVar(&f.account, "account", "", "`ACCOUNT` in ARNs (12 digits)")
	flags.BoolVar(&f.imds, "imds", false, "serve EC2 instance metadata too, for agents in EC2 mode")
	flags.BoolVar(&f.vpc, "vpc", false, "run tasks of network mode awsvpc: make network interfaces for them, and a subnet on this machine; implies --imds (Linux, as root)")
	flags.StringVar(&f.vpcName, "vpc-name", vpc.DefaultName, "network `NAMESPACE` that plays the subnet, as \"ip netns\" shows it")
	flags.StringVar(&f.vpcSubnet, "vpc-subnet", vpc.DefaultSubnet, "`GATEWAY/BITS` of the subnet")
	flags.StringVar(&f.vpcSubnet6, "vpc-subnet6", "", "`GATEWAY/64` of the subnet's IPv6 addresses, such as "+vpc.DefaultSubnet6+"; none without it")
	flags.BoolVar(&f.vpcOnly6, "vpc-ipv6-only", false, "give tasks no IPv4 address in the subnet")
	flags.StringVar(&f.vpcHost, "vpc-host", "", "`FILE` of the agent's network namespace, when it is not this one")
	flags.DurationVar(&f.attachWait, "vpc-attach-wait", service.DefaultAttachWait, "`TIME` that an agent has to see a task's network interface or EBS volume; then the task is stopped")
	flags.StringVar(&f.services, "services", "", "`FOLDER` from which Parameter Store, Secrets Manager, S3 and the tokens of ECR are served too")
	flags.StringVar(&f.volumes, "volumes", "", "`FOLDER` in which EBS volumes for tasks are made, each a sparse file behind a loop device (Linux, as root)")
	flags.StringVar(&f.agentUpdate, "agent-update", "", "`FILE` that UpdateContainerAgent puts on instances: the agent's image, as make package builds it")
	flags.StringVar(&f.exec, "exec", "", "`FOLDER` for ECS Exec: an agent for containers is installed in it (Linux)")
	flags.DurationVar(&f.credentialsLife, "credentials-life", service.DefaultCredentialsLife, "`TIME` that the credentials of task roles last; they are renewed at half of it")
	flags.BoolVarP(&f.detach, "detach", "d", false, "serve in the background, until the command down")
	flags.BoolVar(&f.foreground, "foreground", false, "serve in this process (the default)")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&f.report, "report", false, "print only the URL, for the process that detached this one")
	_ = flags.MarkHidden("report") // fails for unknown flags only
	cmd.MarkFlagsMutuallyExclusive("detach", "foreground")
	return cmd
}

// network is the VPC that the flags ask for; nil for none.
func (f *upFlags) network() (*vpc.Options, error) {
	if !f.vpc {
		return nil, nil //nolint:nilnil // no VPC is an answer
	}
	subnet, err := netip.ParsePrefix(f.vpcSubnet)
	if err != nil {
		return nil, usagef("--vpc-subnet %q: want the gateway's address with a prefix length, such as %s", f.vpcSubnet, vpc.DefaultSubnet)
	}
	o := &vpc.Options{Name: f.vpcName, Host: f.vpcHost, Subnet: subnet, IPv6Only: f.vpcOnly6}
	if f.vpcSubnet6 != "" {
		if o.Subnet6, err = netip.ParsePrefix(f.vpcSubnet6); err != nil {
			return nil, usagef("--vpc-subnet6 %q: want the gateway's IPv6 address with the prefix length 64, such as %s", f.vpcSubnet6, vpc.DefaultSubnet6)
		}
	}
	if err := o.Check(); err != nil {
		return nil, usagef("%w", err)
	}
	return o, nil
}

func (a *app) serve(ctx context.Context, f upFlags) error {
	network, err := f.network()
	if err != nil {
		return err
	}
	log, err := a.logger(f.logLevel)
	if err != nil {
		return err
	}
	if err := f.installExec(); err != nil {
		return err
	}
	srv, err := local.Start(ctx, local.Options{
		Listen: f.listen, DataDir: f.dataDir, Region: f.region, Account: f.account, IMDS: f.imds, VPC: network, Services: f.services, Volumes: f.volumes, Exec: f.exec, AgentUpdate: f.agentUpdate, Version: a.Version, Log: log,
		Service: service.Options{CredentialsLife: f.credentialsLife, AttachWait: f.attachWait},
	})
	if err != nil {
		return err
	}
	if f.report {
		a.printf("%s\n", srv.URL())
	} else {
		a.welcome(srv.URL(), f)
	}
	select {
	case <-ctx.Done():
	case <-srv.Done():
	}
	return srv.Close()
}

// containerAgent is the program of ECS Exec in containers; it is beside this one.
const containerAgent = "ecs-local-ssm-agent"

// installExec puts the agent for containers into the folder of ECS Exec.
func (f *upFlags) installExec() error {
	if f.exec == "" {
		return nil
	}
	var err error
	if f.exec, err = filepath.Abs(f.exec); err != nil {
		return fmt.Errorf("--exec: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	return session.Install(f.exec, filepath.Join(filepath.Dir(program), containerAgent))
}

// logger writes short lines to standard error.
func (a *app) logger(level string) (*zap.Logger, error) {
	var l zapcore.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q: use debug, info, warn or error", level)
	}
	enc := zap.NewDevelopmentEncoderConfig()
	enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	enc.EncodeLevel = zapcore.LowercaseLevelEncoder
	enc.CallerKey, enc.StacktraceKey = "", ""
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(zapcore.AddSync(a.Err)), l)), nil
}

// welcome says what to do next.
func (a *app) welcome(url string, f upFlags) {
	state := "state in memory"
	if f.dataDir != "" {
		state = "state in " + f.dataDir
	}
	a.printf("ecs-local %s serves Amazon ECS at %s (%s, %s)\n", a.Version, url, f.region, state)
	a.printf(`
Start an agent on this machine, as root:
  AWS_DEFAULT_REGION=%[2]s AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \
  ECS_BACKEND_HOST=%[1]s ECS_EXTERNAL=true ecs-agent
`, url, f.region)
	if f.imds {
		a.printf("or in EC2 mode, with AWS_EC2_METADATA_SERVICE_ENDPOINT=%s instead of ECS_EXTERNAL\n", url)
		a.printf(`Have EC2 announce the end of the instance (needs ECS_ENABLE_SPOT_INSTANCE_DRAINING=true):
  curl -H 'X-Ecs-Local: 1' -X PUT %s/_local/imds/meta-data/spot/instance-action -d '{"action":"terminate","time":"soon"}'
`, url)
	}
	if f.vpc {
		a.printf("for tasks of network mode awsvpc in EC2 mode, with ECS_TEST_ENI_LINKS='%s' and the plugins (`ecs-cni install DIR`) in ECS_CNI_PLUGINS_PATH;\n"+
			"the subnet %s is network namespace %q: ip netns exec %[3]s ...\n", vpc.TestLinks, f.vpcSubnet, f.vpcName)
	}
	if f.services != "" {
		a.printf("and with parameters, secrets and objects from %s:\n  AWS_ENDPOINT_URL=%s\n", f.services, url)
	}
	if f.volumes != "" {
		a.printf("and with EBS volumes, in EC2 mode, with the volume plugin on a host that has /mnt/ecs/ebs:\n  ecs-init volume-plugin --sys %s\n", disks.Sys(f.volumes))
	}
	if f.exec != "" {
		agents, logs, _ := session.Folders(f.exec)
		a.printf("and with ECS Exec, for tasks that are run with --enable-execute-command (`ecs-local exec`):\n"+
			"  ECS_MANAGED_AGENTS_DIR=%s ECS_TASK_LOG_DIR=%s\n", agents, logs)
	}
	a.printf("\nRun tasks:\n")
	if url != "http://"+local.DefaultListen {
		a.printf("  export ECS_LOCAL_ENDPOINT=%s\n", url)
	}
	a.printf(`  ecs-local run FILE
  ecs-local ps
or with the AWS CLI:
  export AWS_DEFAULT_REGION=%[2]s AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  aws ecs list-tasks --endpoint-url %[1]s
`, url, f.region)
	if !f.detach {
		a.printf("\nCtrl-C ends it; containers are left alone. `ecs-local down` stops tasks first.\n")
	}
}

// detach starts the server as a process of its own and waits until it serves.
func (a *app) detach(ctx context.Context, f upFlags) error {
	dir, err := logFolder(f.dataDir)
	if err != nil {
		return err
	}
	c := client.New("http://"+f.listen, f.region)
	defer c.Close()
	if c.Local(ctx, http.MethodGet, "status", nil) == nil {
		return fmt.Errorf("a local ECS is serving at %s already: `ecs-local down` ends it", c.Endpoint())
	}
	logName := filepath.Join(dir, "ecs-local.log")
	logFile, err := os.OpenFile(logName, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logFile.Close()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(program, childArgs(f)...) // outlives this process on purpose
	cmd.Stderr = logFile
	cmd.SysProcAttr = ownSession()
	url, err := startAndHear(ctx, cmd)
	if err != nil {
		return fmt.Errorf("%w: see %s", err, logName)
	}
	a.welcome(url, f)
	a.printf("\nIt runs in the background as process %d and logs to %s; `ecs-local down` ends it.\n", cmd.Process.Pid, logName)
	return cmd.Process.Release()
}

// logFolder is where a detached server logs: its data folder or the user's cache.
func logFolder(dataDir string) (string, error) {
	dir := dataDir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for the log: %w", err)
		}
		dir = filepath.Join(cache, "ecs-local")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make folder for the log: %w", err)
	}
	return dir, nil
}

// childArgs are the arguments of a detached server.
func childArgs(f upFlags) []string {
	args := []string{"up", "--foreground", "--report", "--listen", f.listen, "--region", f.region, "--log-level", f.logLevel}
	if f.dataDir != "" {
		args = append(args, "--data-dir", f.dataDir)
	}
	if f.credentialsLife != service.DefaultCredentialsLife {
		args = append(args, "--credentials-life", f.credentialsLife.String())
	}
	if f.account != "" {
		args = append(args, "--account", f.account)
	}
	if f.imds {
		args = append(args, "--imds")
	}
	if f.vpc {
		args = append(args, "--vpc", "--vpc-name", f.vpcName, "--vpc-subnet", f.vpcSubnet)
		if f.vpcSubnet6 != "" {
			args = append(args, "--vpc-subnet6", f.vpcSubnet6)
		}
		if f.vpcOnly6 {
			args = append(args, "--vpc-ipv6-only")
		}
		if f.vpcHost != "" {
			args = append(args, "--vpc-host", f.vpcHost)
		}
	}
	if f.attachWait != service.DefaultAttachWait {
		args = append(args, "--vpc-attach-wait", f.attachWait.String())
	}
	if f.volumes != "" {
		args = append(args, "--volumes", f.volumes)
	}
	if f.services != "" {
		args = append(args, "--services", f.services)
	}
	if f.agentUpdate != "" {
		args = append(args, "--agent-update", f.agentUpdate)
	}
	if f.exec != "" {
		args = append(args, "--exec", f.exec)
	}
	return args
}

// startAndHear starts the server and reads the one line that it writes to its
// standard output once it serves. It is killed when it takes too long.
func startAndHear(ctx context.Context, cmd *exec.Cmd) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, detachWait)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	if err = errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("start server: %w", err)
	}
	spare := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended
	line, err := bufio.NewReader(r).ReadString('\n')
	if spare() && err == nil {
		return strings.TrimSpace(line), nil
	}
	if ctx.Err() != nil {
		return "", errors.Join(fmt.Errorf("the server does not answer: %w", ctx.Err()), cmd.Wait())
	}
	_ = cmd.Wait() // the state says the same
	return "", fmt.Errorf("the server has ended (%s)", cmd.ProcessState)
}
