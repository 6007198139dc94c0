package awsfolder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
)

const (
	maxSecret  = 64 << 10 // the longest secret
	maxSecrets = 20       // of one BatchGetSecretValue

	currentStage = "AWSCURRENT"
	arnTail      = "local1" // what Secrets Manager chooses at random
)

// secretName finds the name in what a request calls a secret: a name, or an ARN with or
// without the six characters that AWS puts behind the name. ok is false for an ARN of
// another region or service.
func secretName(id, region string) (name string, isARN, ok bool) {
	parts := strings.SplitN(id, ":", 7)
	if parts[0] != "arn" {
		return id, false, true
	}
	if len(parts) != 7 || parts[2] != "secretsmanager" || parts[3] != region || parts[5] != "secret" {
		return "", true, false
	}
	return parts[6], true, true
}

// secretFile reads a secret by its name, or by an ARN's name with its tail.
func (s *Services) secretFile(q *request, id string, at func(name string) (base, file string)) (name string, f file, err error) {
	name, isARN, ok := secretName(id, q.region)
	if !ok {
		return "", f, fs.ErrNotExist
	}
	base, path := at(name)
	f, err = s.read(base, path, maxSecret)
	if n := len(name) - len(arnTail) - 1; errors.Is(err, fs.ErrNotExist) && isARN && n > 0 && name[n] == '-' {
		name = name[:n]
		base, path = at(name)
		f, err = s.read(base, path, maxSecret)
	}
	return name, f, err
}

// secret finds a version of a secret.
func (s *Services) secret(q *request, id, version, stage string) (map[string]any, error) {
	current := version == "" && (stage == "" || stage == currentStage)
	at := func(name string) (string, string) { return s.in(q.region, "secrets"), name }
	if !current {
		which := version
		if which == "" {
			which = stage
		}
		at = func(name string) (string, string) { return s.in(q.region, "secrets-versions"), name + "/" + which }
	}
	name, f, err := s.secretFile(q, id, at)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !current:
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label or version: %s%s", stage, version)
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	case err != nil:
		return nil, s.unreadable(id, err)
	}
	if current {
		stage = currentStage
		sum := sha256.Sum256([]byte(name + f.changed.String()))
		version = hex.EncodeToString(sum[:16])
	}
	arn := "arn:aws:secretsmanager:" + q.region + ":" + s.account + ":secret:" + name + "-" + arnTail
	if rest, ok := strings.CutSuffix(id, name); !ok && strings.HasPrefix(rest, "arn:") {
		arn = id // it is the secret's, with the tail that a definition made up
	}
	reply := map[string]any{
		"ARN": arn, "Name": name,
		"SecretString": f.text, "CreatedDate": float64(f.changed.UnixMilli()) / 1000,
	}
	if version != "" {
		reply["VersionId"] = version
	}
	if stage != "" {
		reply["VersionStages"] = []string{stage}
	}
	return reply, nil
}

func (s *Services) getSecretValue(q *request) (any, error) {
	var in struct{ SecretId, VersionId, VersionStage string } //nolint:revive // names of the API
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	return s.secret(q, in.SecretId, in.VersionId, in.VersionStage)
}

func (s *Services) batchGetSecretValue(q *request) (any, error) {
	var in struct {
		SecretIdList []string //nolint:revive // name of the API
		Filters      []any
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if n := len(in.SecretIdList); n == 0 || n > maxSecrets || in.Filters != nil {
		return nil, refuse("InvalidParameterException", "The local Secrets Manager takes a SecretIdList of 1 to %d members and no Filters.", maxSecrets)
	}
	values, errs := []any{}, []any{}
	for _, id := range in.SecretIdList {
		value, err := s.secret(q, id, "", "")
		if refused := asRefusal(err); refused != nil {
			errs = append(errs, map[string]string{"SecretId": id, "ErrorCode": refused.code, "Message": refused.message})
			continue
		}
		values = append(values, value)
	}
	return map[string]any{"SecretValues": values, "Errors": errs}, nil
}
