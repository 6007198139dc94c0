package fsx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

// Values reads secrets; *secrets.Hook does.
type Values interface {
	Find(ctx context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error)
}

// Login is the account that a share is mounted with.
type Login struct {
	User     string // with its domain
	Password secret.String
}

// Drives are the drive letters of the host, "D:" to "Z:".
type Drives interface {
	// Used are the letters that something stands behind.
	Used() ([]string, error)
	// Map makes a letter lead to a share for all of the host, and looks whether it does.
	Map(ctx context.Context, letter, share string, login Login) error
	// Unmap ends that. A letter that leads nowhere is fine.
	Unmap(ctx context.Context, letter string) error
	// Mapped is where a letter leads; empty: nowhere.
	Mapped(ctx context.Context, letter string) (share string, err error)
}

// Bounds of calls.
const (
	roundTrip = 10 * time.Second
	attempts  = 5
)

// Options are the parts and settings of a Hook. Without Drives it can only tell what would
// be mounted.
type Options struct {
	awsenv.JSONOptions
	Region              string
	Parameters, Secrets Values // of Parameter Store and of Secrets Manager
	Drives              Drives
}

// Hook implements engine.Hook.
type Hook struct {
	opts Options
	one  chan struct{} // holds one word: letters are chosen and mapped one after the other
}

// New makes a Hook. It touches nothing.
func New(o Options) *Hook {
	o.JSONOptions = o.JSONOptions.Complete(roundTrip)
	if o.Attempts == 0 {
		o.Attempts = attempts
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Hook{opts: o, one: make(chan struct{}, 1)}
}

// Kind implements engine.Hook.
func (*Hook) Kind() string { return "fsxwindowsfileserver" }

// drive is the member of a resource's data that holds the letter.
const drive = "drive"

// Needs implements engine.Hook: a resource for each volume.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	var list []task.Resource
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if v.Type != task.VolumeFSx {
			continue
		}
		if err := check(v); err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		if spec.ExecutionCredentialsID == "" {
			return nil, fmt.Errorf("volume %s is a file system of FSx for Windows File Server, which takes a task execution role, and the task has none", v.Name)
		}
		var containers []string
		for j := range spec.Containers {
			c := &spec.Containers[j]
			if slices.ContainsFunc(c.MountPoints, func(m task.MountPoint) bool { return m.SourceVolume == v.Name }) {
				containers = append(containers, c.Name)
			}
		}
		if containers != nil {
			list = append(list, task.Resource{Name: v.Name, Text: "volume " + v.Name, Containers: containers, Before: task.ContainerPulled, NeedsRole: true})
		}
	}
	return list, nil
}

func check(v *task.Volume) error {
	f := v.FSx
	switch {
	case f == nil || f.FileSystemID == "":
		return errors.New("fsxWindowsFileServerVolumeConfiguration.fileSystemId: empty; want one such as fs-0123456789abcdef0")
	case f.Domain == "":
		return errors.New("fsxWindowsFileServerVolumeConfiguration.authorizationConfig.domain: empty; want the domain of the account")
	}
	a, err := arn.Parse(f.CredentialsParameter)
	if err != nil || a.Service != "ssm" && a.Service != "secretsmanager" {
		return fmt.Errorf("fsxWindowsFileServerVolumeConfiguration.authorizationConfig.credentialsParameter: %q; want the ARN of a parameter of SSM or of a secret of Secrets Manager", f.CredentialsParameter)
	}
	if strings.ContainsAny(f.RootDirectory, `"<>|*?:`) {
		return fmt.Errorf("fsxWindowsFileServerVolumeConfiguration.rootDirectory: %q; want a folder of the file system's shares such as share\\orders", f.RootDirectory)
	}
	return nil
}

// Preview implements engine.Hook.
func (h *Hook) Preview(_ *task.Spec, r *task.Resource) resource.Provided {
	return given(r.Name, "<drive>")
}

func given(volume, letter string) resource.Provided {
	return resource.Provided{
		Shared: dockerspec.Inputs{VolumeSources: map[string]string{volume: letter + `\`}}, Data: map[string]string{drive: letter},
	}
}

// Provision implements engine.Hook. A letter that an earlier process mapped stays.
func (h *Hook) Provision(ctx context.Context, s *task.Snapshot, r *task.Resource) (resource.Provided, error) {
	fail := func(err error) (resource.Provided, error) {
		return resource.Provided{}, fmt.Errorf("fsxwindowsfileserver resource: volume %s: %w", r.Name, err)
	}
	v := volumeOf(s.Spec, r.Name)
	if v == nil {
		return fail(errors.New("the task has no such volume"))
	}
	host, err := h.address(ctx, s.ExecutionCredentialsID, v.FSx)
	if err != nil {
		return fail(err)
	}
	share := shareOf(host, v.FSx.RootDirectory)
	if letter := dataOf(s, r.Name)[drive]; letter != "" {
		if at, err := h.opts.Drives.Mapped(ctx, letter); err == nil && strings.EqualFold(at, share) {
			return given(r.Name, letter), nil
		}
	}
	login, err := h.login(ctx, s.ExecutionCredentialsID, v.FSx)
	if err != nil {
		return fail(err)
	}
	letter, err := h.mapShare(ctx, share, login)
	if err != nil {
		return fail(err)
	}
	return given(r.Name, letter), nil
}

func volumeOf(spec *task.Spec, name string) *task.Volume {
	i := slices.IndexFunc(spec.Volumes, func(v task.Volume) bool { return v.Name == name && v.Type == task.VolumeFSx })
	if i < 0 {
		return nil
	}
	return &spec.Volumes[i]
}

func dataOf(s *task.Snapshot, name string) map[string]string {
	for i := range s.Resources {
		if s.Resources[i].Kind == (*Hook)(nil).Kind() && s.Resources[i].Name == name && i < len(s.State.Resources) {
			return s.State.Resources[i].Data
		}
	}
	return nil
}

// shareOf is the share of a file system that holds a folder: "share" where none is named.
func shareOf(host, root string) string {
	root = strings.Trim(strings.ReplaceAll(root, "/", `\`), `\`)
	if root == "" {
		root = "share"
	}
	return `\\` + host + `\` + root
}

// login reads the account: JSON with username and password.
func (h *Hook) login(ctx context.Context, credentialsID string, f *task.FSxVolume) (Login, error) {
	values, wanted := h.opts.Parameters, task.Secret{Name: "credentials", ValueFrom: f.CredentialsParameter, Provider: "ssm"}
	if a, err := arn.Parse(f.CredentialsParameter); err == nil && a.Service == "secretsmanager" {
		values, wanted.Provider = h.opts.Secrets, "asm"
	}
	found, err := values.Find(ctx, credentialsID, []task.Secret{wanted})
	if err != nil {
		return Login{}, err
	}
	var account struct{ Username, Password string }
	value := found[wanted]
	if json.Unmarshal([]byte(value.Reveal()), &account) != nil || account.Username == "" || account.Password == "" {
		return Login{}, fmt.Errorf("%s: want JSON with username and password", f.CredentialsParameter)
	}
	return Login{User: f.Domain + `\` + account.Username, Password: secret.String(account.Password)}, nil
}

// address asks FSx for the file system's name in the DNS.
func (h *Hook) address(ctx context.Context, credentialsID string, f *task.FSxVolume) (name string, err error) {
	var who aws.CredentialsProvider
	if h.opts.Credentials != nil {
		who = h.opts.Credentials(credentialsID)
	}
	if who == nil {
		return "", errors.New("unable to find execution role credentials")
	}
	endpoint, err := awsenv.Endpoint(awsenv.EndpointOptions{Service: "fsx", Region: h.opts.Region, IPv6Only: h.opts.IPv6Only, Getenv: h.opts.Getenv})
	if err != nil {
		return "", err
	}
	err = h.opts.Do(ctx, awsenv.JSONCall{
		Service: "fsx", Target: "AWSSimbaAPIService_v20180301.DescribeFileSystems", Region: h.opts.Region, Endpoint: endpoint, Credentials: who,
		Request: map[string]any{"FileSystemIds": []string{f.FileSystemID}},
	}, func(reply []byte) error {
		var said struct{ FileSystems []struct{ DNSName string } }
		if err := json.Unmarshal(reply, &said); err != nil {
			return fmt.Errorf("the reply is not that of DescribeFileSystems: %w", err)
		}
		if len(said.FileSystems) != 1 || said.FileSystems[0].DNSName == "" {
			return fmt.Errorf("FSx does not know file system %s in %s", f.FileSystemID, h.opts.Region)
		}
		name = said.FileSystems[0].DNSName
		return nil
	})
	return name, err
}

// mapShare chooses a letter and makes it lead to a share.
func (h *Hook) mapShare(ctx context.Context, share string, login Login) (string, error) {
	select {
	case h.one <- struct{}{}:
		defer func() { <-h.one }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	used, err := h.opts.Drives.Used()
	if err != nil {
		return "", err
	}
	letter := free(used)
	if letter == "" {
		return "", errors.New("every drive letter from D: to Z: is used")
	}
	// A mapping may be left of a host that was shut down.
	if err := h.opts.Drives.Unmap(ctx, letter); err != nil {
		h.opts.Log.Debug("drive letter not freed", zap.String("drive", letter), zap.Error(err))
	}
	return letter, h.opts.Drives.Map(ctx, letter, share, login)
}

// free is the last letter that is not used: people and disks begin at the first.
func free(used []string) string {
	for c := byte('Z'); c >= 'D'; c-- {
		letter := string(c) + ":"
		if !slices.ContainsFunc(used, func(u string) bool { return strings.EqualFold(u, letter) }) {
			return letter
		}
	}
	return ""
}

// CleanUp implements engine.Hook. Whether Windows lets go of a share does not keep a task.
func (h *Hook) CleanUp(ctx context.Context, s *task.Snapshot, r *task.Resource, data map[string]string) error {
	letter := data[drive]
	if letter == "" {
		return nil
	}
	select {
	case h.one <- struct{}{}:
		defer func() { <-h.one }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := h.opts.Drives.Unmap(ctx, letter); err != nil {
		h.opts.Log.Warn("drive letter not freed", zap.String("task", s.ARN), zap.String("drive", letter), zap.Error(err))
	}
	return nil
}
