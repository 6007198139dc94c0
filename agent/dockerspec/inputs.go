package dockerspec

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ecsagent/agent/secret"
)

// Inputs are what was found out or made for a container before its creation: by its
// image, and by the resources of its task. They may be secret: they are kept in
// memory, handed to Build and to nobody else.
type Inputs struct {
	ImageEnv   []string          // the image's own environment, K=V
	Secrets    map[string]string // variables that replace those of the definition
	EnvFiles   map[string]string // variables that give way to those of the definition
	Variables  map[string]string // variables of the agent's, which replace all others; no secrets
	LogOptions map[string]string // secret log options; empty values are left out
	Binds      []string          // further mounts, SOURCE:TARGET[:ro]
	// VolumeSources are what to mount for volumes of the task, by name, that are neither
	// paths of the host nor Docker volumes named in the State, e.g. a mapped drive.
	VolumeSources map[string]string
	CgroupParent  string // the task's cgroup; empty leaves it to Docker
	// CredentialSpec is the security option that holds the container's credential spec, in
	// the place of what ECS asks for; empty without.
	CredentialSpec string
	// MetadataFile is the metadata file's path inside the container; empty when the
	// feature is off.
	MetadataFile string
}

// Add takes over what other has; where both have the same, other's counts.
func (in *Inputs) Add(other *Inputs) {
	in.ImageEnv = append(in.ImageEnv[:len(in.ImageEnv):len(in.ImageEnv)], other.ImageEnv...)
	in.Binds = append(in.Binds[:len(in.Binds):len(in.Binds)], other.Binds...)
	in.Secrets = merged(in.Secrets, other.Secrets)
	in.EnvFiles = merged(in.EnvFiles, other.EnvFiles)
	in.Variables = merged(in.Variables, other.Variables)
	in.LogOptions = merged(in.LogOptions, other.LogOptions)
	in.VolumeSources = merged(in.VolumeSources, other.VolumeSources)
	if other.CgroupParent != "" {
		in.CgroupParent = other.CgroupParent
	}
	if other.CredentialSpec != "" {
		in.CredentialSpec = other.CredentialSpec
	}
	if other.MetadataFile != "" {
		in.MetadataFile = other.MetadataFile
	}
}

// merged never changes its arguments.
func merged(a, b map[string]string) map[string]string {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// shortest is the length from which a value is looked for in a text. A shorter one stands
// in many texts by chance.
const shortest = 4

// Hide puts [redacted] in place of values of the inputs in a text of others, such as
// what Docker says about a log option that it does not take.
func (in *Inputs) Hide(text string) string {
	var values []string
	for _, of := range []map[string]string{in.Secrets, in.EnvFiles, in.LogOptions} {
		for _, v := range of {
			quoted := strconv.Quote(v)
			values = append(values, v, quoted[1:len(quoted)-1])
		}
	}
	// The longest first: one value may be a part of another.
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, v := range values {
		if len(v) >= shortest {
			text = strings.ReplaceAll(text, v, secret.Redacted)
		}
	}
	return text
}

// String keeps secrets out of logs.
func (Inputs) String() string { return "[redacted]" }

// GoString is String for %#v.
func (Inputs) GoString() string { return "[redacted]" }

// MarshalJSON is String for logs and for whatever else writes JSON.
func (Inputs) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
