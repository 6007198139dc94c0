package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"ecsagent/agent/runtime"
	"ecsagent/agent/secret"
)

// Docker Hub: the key under which its login is kept, and the names it goes by.
const hubKey = "index.docker.io/v1/"

var hubHosts = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// Registries are the logins that the agent's configuration gives.
type Registries struct {
	byKey map[string]runtime.RegistryAuth
}

// ParseEngineAuth reads ECS_ENGINE_AUTH_TYPE and ECS_ENGINE_AUTH_DATA
// (docs/spec/02 section 5.4). Entries that cannot be read are left out; what is
// wrong with them is in the second result, without secrets.
func ParseEngineAuth(kind string, data secret.String) (*Registries, []string) {
	r := &Registries{byKey: make(map[string]runtime.RegistryAuth)}
	if kind == "" || data == "" {
		return r, nil
	}
	var parse func(json.RawMessage) (runtime.RegistryAuth, error)
	switch kind {
	case "docker":
		parse = parsePlain
	case "dockercfg":
		parse = parseEncoded
	default:
		return r, []string{fmt.Sprintf("unknown type %q: want docker or dockercfg", kind)}
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal([]byte(data.Reveal()), &entries); err != nil {
		return r, []string{"the data is no JSON object of registries"}
	}
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		auth, err := parse(entries[key])
		if err != nil {
			problems = append(problems, fmt.Sprintf("registry %q: %s", key, err))
			continue
		}
		if auth.ServerAddress == "" {
			auth.ServerAddress = key
		}
		r.byKey[stripScheme(key)] = auth
	}
	return r, problems
}

func stripScheme(key string) string {
	return strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
}

func parsePlain(raw json.RawMessage) (runtime.RegistryAuth, error) {
	var e struct {
		Username      string `json:"username"`
		Password      string `json:"password"`
		ServerAddress string `json:"serveraddress"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return runtime.RegistryAuth{}, fmt.Errorf("want an object with username and password")
	}
	return runtime.RegistryAuth{Username: e.Username, Password: secret.String(e.Password), ServerAddress: e.ServerAddress}, nil
}

func parseEncoded(raw json.RawMessage) (runtime.RegistryAuth, error) {
	var e struct {
		Auth string `json:"auth"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return runtime.RegistryAuth{}, fmt.Errorf("want an object with auth")
	}
	return parseUserPassword(e.Auth)
}

// parseUserPassword reads base64 of user:password.
func parseUserPassword(encoded string) (runtime.RegistryAuth, error) {
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return runtime.RegistryAuth{}, fmt.Errorf("auth is not base64")
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || user == "" {
		return runtime.RegistryAuth{}, fmt.Errorf("auth is not user:password")
	}
	return runtime.RegistryAuth{Username: user, Password: secret.String(strings.TrimRight(password, "\x00"))}, nil
}

// lookup returns the login for an image, nil when there is none: that of Docker
// Hub, of exactly the image's host, or of the longest key on that host which the
// image's name starts with.
func (r *Registries) lookup(n name) *runtime.RegistryAuth {
	if r == nil {
		return nil
	}
	host := reference.Domain(n.named)
	if slices.Contains(hubHosts, host) {
		return r.get(hubKey)
	}
	best := ""
	for key := range r.byKey {
		keyHost, _, _ := strings.Cut(key, "/")
		if keyHost == host && len(key) > len(best) && strings.HasPrefix(n.repository(), strings.TrimSuffix(key, "/")) {
			best = key
		}
	}
	return r.get(best)
}

func (r *Registries) get(key string) *runtime.RegistryAuth {
	if auth, ok := r.byKey[key]; ok {
		return &auth
	}
	return nil
}
