package image

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"ecsagent/agent/runtime"
)

// name is a parsed image reference.
type name struct {
	given  string // as the definition has it
	named  reference.Named
	digest string // of the reference itself; empty without one
}

// parseName reads an image reference; errorName is what a failure is called.
func parseName(ref, errorName string) (name, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return name{}, failure(errorName, fmt.Sprintf("invalid reference format: %q: %s", ref, err), runtime.ErrInvalid, err)
	}
	n := name{given: ref, named: named}
	if d, ok := named.(reference.Digested); ok {
		n.digest = d.Digest().String()
	}
	return n, nil
}

// repository is the name without tag and digest, with its registry.
func (n name) repository() string { return n.named.Name() }

// pullRef is what is pulled: the digest when there is one, else the tag, else
// latest (docs/spec/02 section 5.3).
func (n name) pullRef(digest string) string {
	switch {
	case n.digest != "":
		return n.repository() + "@" + n.digest
	case digest != "":
		return n.repository() + "@" + digest
	}
	return reference.TagNameOnly(n.named).String()
}

// tag is the name that an image pulled by digest gets afterwards.
func (n name) tag() string { return reference.TagNameOnly(n.named).String() }

// local is the name under which Docker keeps the image, the same for every way to
// write it.
func (n name) local() string {
	if n.digest != "" {
		return n.repository() + "@" + n.digest
	}
	return n.tag()
}

// localName is name.local of a reference; one that is none stands for itself.
func localName(ref string) string {
	n, err := parseName(ref, namePull)
	if err != nil {
		return ref
	}
	return n.local()
}

// digestIn returns the digest of the repository among an image's repository
// digests, empty when there is none.
func (n name) digestIn(img runtime.Image) string {
	for _, d := range img.Digests {
		repository, digest, ok := strings.Cut(d, "@")
		if !ok {
			continue
		}
		if named, err := reference.ParseNormalizedNamed(repository); err == nil && named.Name() == n.repository() {
			return digest
		}
	}
	return ""
}
