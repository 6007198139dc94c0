package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.uber.org/zap"
)

// secretsPrefix begins the targets of Secrets Manager.
const secretsPrefix = "secretsmanager."

// maxSecret is the largest secret that AWS takes.
const maxSecret = 64 << 10

// secrets serves Secrets Manager's GetSecretValue from a folder: the secret team/db is
// the file team/db in it, and its content is the value. It serves whoever signs a
// request, with whatever credentials.
type secrets struct {
	root    *os.Root
	region  string
	account string
	log     *zap.Logger
}

// openSecrets serves a folder, which may be filled later.
func openSecrets(dir, region, account string, log *zap.Logger) (*secrets, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of secrets: %w", err)
	}
	return &secrets{root: root, region: region, account: account, log: log}, nil
}

func (s *secrets) close() error { return s.root.Close() }

// refusal is an error as Secrets Manager words it.
type refusal struct {
	Type    string `json:"__type"`
	Message string
}

func (s *secrets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	value, refused := s.answer(w, r)
	if refused != nil {
		w.WriteHeader(http.StatusBadRequest)
		writeJSON(w, refused)
		return
	}
	writeJSON(w, value)
}

func (s *secrets) answer(w http.ResponseWriter, r *http.Request) (map[string]any, *refusal) {
	switch {
	case r.Header.Get("Origin") != "": // a web page; nothing else that calls the service names one
		return nil, &refusal{"AccessDeniedException", "Requests from web pages are refused."}
	case !secretSignature.MatchString(r.Header.Get("Authorization")):
		return nil, &refusal{"IncompleteSignatureException", "The request is not signed with SigV4 for secretsmanager."}
	case r.Header.Get("X-Amz-Target") != secretsPrefix+"GetSecretValue":
		return nil, &refusal{"UnknownOperationException", "The local Secrets Manager knows GetSecretValue only."}
	}
	var in struct{ SecretId, VersionId, VersionStage string } //nolint:revive // names of the API
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSecret))
	if err != nil || json.Unmarshal(body, &in) != nil {
		return nil, &refusal{"SerializationException", "The request is not JSON."}
	}
	if in.VersionId != "" || in.VersionStage != "" && in.VersionStage != "AWSCURRENT" {
		return nil, &refusal{"ResourceNotFoundException", "The local Secrets Manager has current versions only."}
	}
	name, value, err := s.read(in.SecretId)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &refusal{"ResourceNotFoundException", "Secrets Manager can't find the specified secret."}
	case err != nil:
		s.log.Warn("secret not read", zap.String("secret", in.SecretId), zap.Error(err))
		return nil, &refusal{"InvalidRequestException", "The secret cannot be read."}
	}
	return map[string]any{
		"ARN": fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-local1", s.region, s.account, name), "Name": name,
		"SecretString": value, "VersionStages": []string{"AWSCURRENT"}, "CreatedDate": float64(time.Now().Unix()),
	}, nil
}

var (
	secretSignature = regexp.MustCompile(`^AWS4-HMAC-SHA256 +Credential=[^/,\s]+/\d{8}/[^/,\s]+/secretsmanager/aws4_request, *SignedHeaders=[^,\s]+, *Signature=[0-9a-f]{64}$`)
	secretName      = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)
	secretSuffix    = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)
)

// read finds a secret by its name or ARN, the latter with or without the six random
// characters that AWS puts behind the name.
func (s *secrets) read(id string) (name, value string, err error) {
	name = id
	if parts := strings.SplitN(id, ":", 7); len(parts) == 7 && parts[0] == "arn" && parts[2] == "secretsmanager" && parts[5] == "secret" {
		if parts[3] != s.region {
			return "", "", fmt.Errorf("region %q: %w", parts[3], fs.ErrNotExist)
		}
		name = parts[6]
	}
	value, err = s.file(name)
	if short := secretSuffix.ReplaceAllString(name, ""); errors.Is(err, fs.ErrNotExist) && short != name && id != name {
		name = short
		value, err = s.file(name)
	}
	return name, value, err
}

// file reads the file of a name. It cannot be outside the folder.
func (s *secrets) file(name string) (string, error) {
	if !secretName.MatchString(name) {
		return "", fmt.Errorf("secret %q: %w", name, fs.ErrNotExist)
	}
	f, err := s.root.Open(filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("secret %q: %w", name, fs.ErrNotExist)
	}
	value, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if len(value) > maxSecret {
		return "", fmt.Errorf("secret %q is longer than %d bytes", name, maxSecret)
	}
	return string(value), err
}
