package gmsa

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"ecsagent/agent/resource"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/task"
)

// Prefixes of credential specs and of the security options that hold them.
const (
	joined     = "credentialspec:"
	domainless = "credentialspecdomainless:"
)

// source is where a spec comes from.
type source int

const (
	fromFile source = iota
	fromS3
	fromSSM
)

// reference is what a container asks for.
type reference struct {
	text       string // as it was given
	domainless bool
	source     source
	file       string // below Docker's folder, or on Linux of the host
	object     objects.Object
}

// referenceOf reads what a container asks for; ok is false when that is nothing.
func referenceOf(c *task.Container, place place) (r reference, ok bool, err error) {
	text := ""
	for _, s := range append(c.CredentialSpecs[:len(c.CredentialSpecs):len(c.CredentialSpecs)], securityOptions(c)...) {
		if strings.HasPrefix(s, joined) || strings.HasPrefix(s, domainless) {
			text = s
			break
		}
	}
	if text == "" {
		if len(c.CredentialSpecs) > 0 {
			return r, false, fmt.Errorf("credentialSpecs of container %s: %q; want credentialspec:VALUE or credentialspecdomainless:VALUE", c.Name, c.CredentialSpecs[0])
		}
		return r, false, nil
	}
	if r, err = parse(text, place); err != nil {
		return r, false, fmt.Errorf("credential spec %q of container %s: %w", text, c.Name, err)
	}
	return r, true, nil
}

func securityOptions(c *task.Container) []string {
	var host struct{ SecurityOpt []string }
	if json.Unmarshal([]byte(c.DockerHostConfig), &host) != nil {
		return nil // the mapping to Docker says what is wrong
	}
	return host.SecurityOpt
}

var errARN = errors.New("unsupported credentialspec ARN, only s3/ssm ARNs are valid")

// place checks the name of a file with a spec.
type place func(name string) error

// inFolder is for the files that Docker reads itself, on Windows.
func inFolder(name string) error {
	for part := range strings.SplitSeq(strings.ReplaceAll(name, `\`, "/"), "/") {
		if !resource.IsElement(part) {
			return errors.New(`want the name of a file in Docker's folder credentialspecs, such as "file://web.json"`)
		}
	}
	return nil
}

// onHost is for the files that the agent reads, on Linux.
func onHost(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name {
		return errors.New(`want the path of a file on the container instance, such as "file:///etc/credspecs/web.json"`)
	}
	return nil
}

func parse(text string, place place) (r reference, err error) {
	value, is := strings.CutPrefix(text, domainless)
	if !is {
		value = strings.TrimPrefix(text, joined)
	}
	r = reference{text: text, domainless: is}
	if name, file := strings.CutPrefix(value, "file://"); file {
		r.source, r.file = fromFile, name
		return r, place(name)
	}
	a, err := arn.Parse(value)
	switch {
	case err != nil:
		return r, errARN
	case a.Service == "s3":
		r.source = fromS3
		if r.object, err = objects.Parse(value); err != nil || !resource.IsElement(path.Base(r.object.Key)) {
			return r, errors.New("want the ARN of an object such as arn:aws:s3:::bucket/web.json")
		}
	case a.Service == "ssm" && strings.HasPrefix(a.Resource, "parameter/"):
		r.source = fromSSM
	default:
		return r, errARN
	}
	return r, nil
}

func (r *reference) arn() string {
	return strings.TrimPrefix(strings.TrimPrefix(r.text, domainless), joined)
}

// made is the name of the file that is made for a container; empty: the reference is to
// one that an operator has put there.
func (r *reference) made(taskID, container string) string {
	switch {
	case r.source == fromFile && !r.domainless:
		return ""
	case r.source == fromS3:
		return "s3_" + taskID + "_" + path.Base(r.object.Key)
	}
	sum := sha256.Sum256([]byte(taskID + container + r.arn()))
	return hex.EncodeToString(sum[:])
}

// withRegistry tells the plug-in of a domainless spec where the credentials are: its input
// is JSON in a text of the spec, or, as people write it, JSON as it is.
func withRegistry(spec []byte, key string) ([]byte, error) {
	wrong := errors.New("want ActiveDirectoryConfig.HostAccountConfig.PluginInput with credentialArn, for a host in no domain")
	var all, directory, account, input map[string]json.RawMessage
	if json.Unmarshal(spec, &all) != nil || json.Unmarshal(all["ActiveDirectoryConfig"], &directory) != nil ||
		json.Unmarshal(directory["HostAccountConfig"], &account) != nil {
		return nil, wrong
	}
	raw := account["PluginInput"]
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = []byte(text)
	}
	if json.Unmarshal(raw, &input) != nil || input == nil {
		return nil, wrong
	}
	for name := range input {
		if strings.EqualFold(name, "regKeyPath") {
			delete(input, name)
		}
	}
	var err error
	set := func(m map[string]json.RawMessage, name string, v any) {
		var b []byte
		if b, err = encode(v); err == nil {
			m[name] = b
		}
	}
	set(input, "regKeyPath", key)
	inner, e := encode(input)
	set(account, "PluginInput", string(inner))
	set(directory, "HostAccountConfig", account)
	set(all, "ActiveDirectoryConfig", directory)
	out, last := encode(all)
	return out, errors.Join(e, err, last)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// compact is a spec as it is stored.
func compact(spec []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, bytes.TrimPrefix(spec, []byte("\xef\xbb\xbf"))); err != nil {
		return nil, errors.New("it is not JSON") // nothing of it is shown
	}
	return b.Bytes(), nil
}

var errNoUser = errors.New("want ActiveDirectoryConfig.HostAccountConfig.PluginInput.CredentialArn, the ARN of a secret, for a host in no domain")

// accountOf is the account that a spec is for, and the secret of the user with whose rights
// its tickets are fetched on a host in no domain, if it has one.
func accountOf(spec []byte) (name, user string, err error) {
	var s struct {
		ActiveDirectoryConfig struct {
			GroupManagedServiceAccounts []struct{ Name string }
			HostAccountConfig           struct{ PluginInput json.RawMessage }
		}
	}
	if json.Unmarshal(spec, &s) != nil || len(s.ActiveDirectoryConfig.GroupManagedServiceAccounts) == 0 {
		return "", "", errors.New("want ActiveDirectoryConfig.GroupManagedServiceAccounts with the account's Name")
	}
	name = s.ActiveDirectoryConfig.GroupManagedServiceAccounts[0].Name
	if !resource.IsElement(name) {
		return "", "", fmt.Errorf("ActiveDirectoryConfig.GroupManagedServiceAccounts[0].Name is %q: want the name of an account", name)
	}
	raw := []byte(s.ActiveDirectoryConfig.HostAccountConfig.PluginInput)
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = []byte(text)
	}
	var input struct{ CredentialArn string }
	if len(raw) > 0 && json.Unmarshal(raw, &input) != nil {
		return name, "", errNoUser
	}
	return name, input.CredentialArn, nil
}
