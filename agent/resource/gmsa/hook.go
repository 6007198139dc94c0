package gmsa

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/resource"
	"ecsagent/agent/task"
)

// Registry is the registry of Windows, below the key of the plug-in for hosts in no domain.
type Registry interface {
	// Set makes a key with these values, which only the system and administrators read.
	Set(key string, values map[string]string) error
	// Delete removes a key, which may not be there.
	Delete(key string) error
	// Keys are those that there are.
	Keys() ([]string, error)
}

// registryRoot is where the keys are.
const registryRoot = `HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services\AmazonECSCCGPlugin\`

// Options are the parts and settings of a Hook. Without Objects it can only tell what
// would be made.
type Options struct {
	Dir string // where Docker looks for credential specs
	Sources
	Registry    Registry
	Credentials func(credentialsID string) aws.CredentialsProvider
	Domainless  bool // specs for hosts in no domain are offered
	Log         *zap.Logger
}

// Hook implements engine.Hook for Windows.
type Hook struct{ opts Options }

// New makes a Hook. It touches nothing.
func New(o Options) *Hook {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Hook{o}
}

// Kind implements engine.Hook.
func (*Hook) Kind() string { return "credentialspec" }

// Needs implements engine.Hook.
func (h *Hook) Needs(spec *task.Spec) ([]task.Resource, error) {
	return needs(spec, inFolder, func(r *reference) error {
		if r.domainless && !h.opts.Domainless {
			return errors.New("specs for hosts in no domain are not offered by this container instance (ECS_GMSA_SUPPORTED=true)")
		}
		return nil
	})
}

// Preview implements engine.Hook.
func (h *Hook) Preview(spec *task.Spec, _ *task.Resource) resource.Provided {
	out := resource.Provided{Inputs: make(map[string]dockerspec.Inputs)}
	_ = each(spec, inFolder, func(c *task.Container, _ int, r *reference) error {
		out.Inputs[c.Name] = option(r, spec.ID(), c.Name)
		return nil
	})
	return out
}

func option(r *reference, taskID, container string) dockerspec.Inputs {
	name := r.made(taskID, container)
	if name == "" {
		name = r.file
	}
	return dockerspec.Inputs{CredentialSpec: "credentialspec=file://" + name}
}

// Provision implements engine.Hook. What it makes it makes anew.
func (h *Hook) Provision(ctx context.Context, s *task.Snapshot, _ *task.Resource) (resource.Provided, error) {
	out := resource.Provided{Inputs: make(map[string]dockerspec.Inputs)}
	if err := os.MkdirAll(h.opts.Dir, 0o755); err != nil {
		return out, fmt.Errorf("credentialspec resource: %w", err)
	}
	domainless := false
	err := each(s.Spec, inFolder, func(c *task.Container, i int, r *reference) error {
		if st := &s.State.Containers[i]; st.Known >= task.ContainerRunning || st.Desired == task.ContainerStopped {
			return nil
		}
		domainless = domainless || r.domainless
		if err := h.make(ctx, s.Spec, c, r); err != nil {
			return fmt.Errorf("credentialspec resource: credential spec %q of container %s: %w", r.text, c.Name, err)
		}
		out.Inputs[c.Name] = option(r, s.ID(), c.Name)
		return nil
	})
	if err == nil && domainless {
		err = h.Renew(ctx, s)
	}
	return out, err
}

// make puts a spec where Docker reads it.
func (h *Hook) make(ctx context.Context, spec *task.Spec, c *task.Container, r *reference) error {
	body, err := h.fetch(ctx, spec, r)
	if err != nil {
		return err
	}
	if body, err = compact(body); err != nil {
		return err
	}
	name := r.made(spec.ID(), c.Name)
	if name == "" {
		return nil // it is there
	}
	if r.domainless {
		if body, err = withRegistry(body, registryRoot+spec.ARN); err != nil {
			return err
		}
	}
	return replace(filepath.Join(h.opts.Dir, name), body)
}

func (h *Hook) fetch(ctx context.Context, spec *task.Spec, r *reference) ([]byte, error) {
	if r.source == fromFile {
		return os.ReadFile(filepath.Join(h.opts.Dir, filepath.FromSlash(strings.ReplaceAll(r.file, `\`, "/"))))
	}
	return h.opts.fetch(ctx, spec.ExecutionCredentialsID, r)
}

// replace writes a file whole.
func replace(name string, content []byte) error {
	temporary := name + ".new"
	err := os.WriteFile(temporary, content, 0o644)
	if err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		_ = os.Remove(temporary)
	}
	return err
}

// Renew puts the credentials of a task's execution role where the plug-in finds them, as
// they come and as they are renewed. It does nothing for a task without a domainless spec.
func (h *Hook) Renew(ctx context.Context, s *task.Snapshot) error {
	if !domainlessTask(s.Spec) {
		return nil
	}
	who := h.opts.Credentials(s.ExecutionCredentialsID)
	if who == nil {
		return errors.New("credentialspec resource: unable to find execution role credentials")
	}
	set, err := who.Retrieve(ctx)
	if err == nil {
		err = h.opts.Registry.Set(s.ARN, map[string]string{"AKID": set.AccessKeyID, "SKID": set.SecretAccessKey, "SESSIONTOKEN": set.SessionToken})
	}
	if err != nil {
		return fmt.Errorf("credentialspec resource: credentials for hosts in no domain: %w", err)
	}
	return nil
}

func domainlessTask(spec *task.Spec) (is bool) {
	_ = each(spec, inFolder, func(_ *task.Container, _ int, r *reference) error {
		is = is || r.domainless
		return nil
	})
	return is
}

// CleanUp implements engine.Hook. Files that an operator has put there stay.
func (h *Hook) CleanUp(_ context.Context, s *task.Snapshot, _ *task.Resource, _ map[string]string) error {
	var failed []error
	_ = each(s.Spec, inFolder, func(c *task.Container, _ int, r *reference) error {
		if name := r.made(s.ID(), c.Name); name != "" {
			if err := os.Remove(filepath.Join(h.opts.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
		}
		return nil
	})
	if domainlessTask(s.Spec) {
		failed = append(failed, h.opts.Registry.Delete(s.ARN))
	}
	return errors.Join(failed...)
}

// ofTask is what names a file that was made for a task.
var ofTask = regexp.MustCompile(`^s3_([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_`)

// Sweep implements engine.Sweeper: it removes credentials of tasks that are not known, and
// files whose names tell of them.
func (h *Hook) Sweep(_ context.Context, known func(taskID string) bool) error {
	var failed []error
	keys, err := h.opts.Registry.Keys()
	failed = append(failed, err)
	for _, key := range keys {
		if id := key[strings.LastIndexByte(key, '/')+1:]; strings.HasPrefix(key, "arn:") && !known(id) {
			failed = append(failed, h.opts.Registry.Delete(key))
		}
	}
	files, err := os.ReadDir(h.opts.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	files = slices.DeleteFunc(files, func(f fs.DirEntry) bool { return !ofTask.MatchString(f.Name()) })
	for _, f := range files {
		if id := ofTask.FindStringSubmatch(f.Name())[1]; !known(id) {
			failed = append(failed, os.Remove(filepath.Join(h.opts.Dir, f.Name())))
		}
	}
	return errors.Join(failed...)
}
