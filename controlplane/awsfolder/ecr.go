package awsfolder

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"time"
)

const (
	maxRegistry = 64 << 10
	// tokenLife is how long a password of ECR is good.
	tokenLife = 12 * time.Hour
)

// registry is the file of one.
type registry struct {
	Username      string `json:"username"` // empty: AWS
	Password      string `json:"password"`
	ProxyEndpoint string `json:"proxyEndpoint"` // empty: the one of AWS
}

func (s *Services) getAuthorizationToken(q *request) (any, error) {
	var in struct{ RegistryIds []string } //nolint:revive // name of the API
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in.RegistryIds) == 0 {
		in.RegistryIds = []string{s.account}
	}
	data := []any{}
	for _, id := range in.RegistryIds {
		f, err := s.read(s.in(q.region, "ecr"), id, maxRegistry)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, refuse("InvalidParameterException", "The folder has no file %s for the registry.", s.in(q.region, "ecr", id))
		}
		if err != nil {
			return nil, s.unreadable(id, err)
		}
		r := registry{Username: "AWS", ProxyEndpoint: "https://" + id + ".dkr.ecr." + q.region + ".amazonaws.com"}
		if json.Unmarshal([]byte(f.text), &r) != nil || r.Password == "" {
			return nil, s.unreadable(id, errors.New(`want JSON such as {"username":"AWS","password":"…"}`))
		}
		data = append(data, map[string]any{
			"authorizationToken": base64.StdEncoding.EncodeToString([]byte(r.Username + ":" + r.Password)),
			"expiresAt":          float64(time.Now().Add(tokenLife).Unix()), "proxyEndpoint": r.ProxyEndpoint,
		})
	}
	return map[string]any{"authorizationData": data}, nil
}
