package agentlink

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	sigAlgorithm  = "AWS4-HMAC-SHA256"
	sigService    = "ecs"
	sigTimeLayout = "20060102T150405Z"
	// maxSkew is how far a signature's time may be off when signatures are verified.
	maxSkew = 15 * time.Minute
)

// authorization is the content of a SigV4 Authorization header.
type authorization struct {
	accessKey     string
	date          string // YYYYMMDD
	region        string
	service       string
	signedHeaders []string
	signature     string
}

// parseAuthorization reads the header's value and checks its structure.
func parseAuthorization(value string) (authorization, error) {
	rest, ok := strings.CutPrefix(value, sigAlgorithm+" ")
	if !ok {
		return authorization{}, fmt.Errorf("the Authorization header does not begin with %s", sigAlgorithm)
	}
	parts := make(map[string]string, 3)
	for item := range strings.SplitSeq(rest, ",") {
		name, v, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || v == "" || parts[name] != "" {
			return authorization{}, fmt.Errorf("the Authorization header has a malformed part %q", item)
		}
		parts[name] = v
	}
	scope := strings.Split(parts["Credential"], "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || slices.Contains(scope, "") {
		return authorization{}, fmt.Errorf("the credential scope %q is not KEY/DATE/REGION/SERVICE/aws4_request", parts["Credential"])
	}
	a := authorization{
		accessKey: scope[0], date: scope[1], region: scope[2], service: scope[3],
		signedHeaders: strings.Split(parts["SignedHeaders"], ";"), signature: parts["Signature"],
	}
	if sum, err := hex.DecodeString(a.signature); err != nil || len(sum) != sha256.Size {
		return authorization{}, errors.New("the signature is not 64 hexadecimal digits")
	}
	if a.service != sigService {
		return authorization{}, fmt.Errorf("the signature is for service %q, not %q", a.service, sigService)
	}
	for _, h := range []string{"host", "x-amz-date"} {
		if !slices.Contains(a.signedHeaders, h) {
			return authorization{}, fmt.Errorf("the header %s is not signed", h)
		}
	}
	return a, nil
}

// signedRequest is the GET that signatures of a websocket refer to: the upgrade
// itself and, on TCS, every frame (docs/spec/01 sections 2.2 and 4.1).
type signedRequest struct {
	Host     string
	Path     string // escaped
	RawQuery string
}

// check verifies that headers carry a well-formed signature and, when keys are
// given, that it is right for payload.
func (s signedRequest) check(headers http.Header, payload []byte, keys map[string]string, now time.Time) error {
	auth, err := parseAuthorization(headers.Get("Authorization"))
	if err != nil {
		return err
	}
	stamp := headers.Get("X-Amz-Date")
	at, err := time.Parse(sigTimeLayout, stamp)
	if err != nil {
		return fmt.Errorf("the X-Amz-Date %q is not of the form %s", stamp, sigTimeLayout)
	}
	if !strings.HasPrefix(stamp, auth.date) {
		return fmt.Errorf("the X-Amz-Date %s is not of the day of the credential scope, %s", stamp, auth.date)
	}
	if keys == nil {
		return nil
	}
	secret, ok := keys[auth.accessKey]
	if !ok {
		return fmt.Errorf("the access key %s is not known", auth.accessKey)
	}
	if skew := now.Sub(at).Abs(); skew > maxSkew {
		return fmt.Errorf("the signature's time %s is %s off", stamp, skew.Round(time.Second))
	}
	want, err := s.sign(auth, headers, payload, secret, at)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(auth.signature)) != 1 {
		return errors.New("the signature does not match")
	}
	return nil
}

// sign computes the signature that auth should carry.
func (s signedRequest) sign(auth authorization, headers http.Header, payload []byte, secret string, at time.Time) (string, error) {
	path, err := url.PathUnescape(s.Path)
	if err != nil {
		return "", fmt.Errorf("read path %q: %w", s.Path, err)
	}
	req := &http.Request{
		Method: http.MethodGet, Host: s.Host, Header: make(http.Header),
		URL: &url.URL{Scheme: "https", Host: s.Host, Path: path, RawPath: s.Path, RawQuery: s.RawQuery},
	}
	for _, name := range auth.signedHeaders {
		if name != "host" {
			req.Header[http.CanonicalHeaderKey(name)] = headers.Values(name)
		}
	}
	creds := aws.Credentials{AccessKeyID: auth.accessKey, SecretAccessKey: secret, SessionToken: headers.Get("X-Amz-Security-Token")}
	sum := sha256.Sum256(payload)
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(sum[:]), auth.service, auth.region, at); err != nil {
		return "", fmt.Errorf("compute signature: %w", err)
	}
	signed, err := parseAuthorization(req.Header.Get("Authorization"))
	if err != nil {
		return "", fmt.Errorf("read back signature: %w", err)
	}
	return signed.signature, nil
}
