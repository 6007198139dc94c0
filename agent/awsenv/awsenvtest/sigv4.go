package awsenvtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
)

// secretKey is the secret behind Credentials.
const secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

// SignedHeaders returns the headers that a request's Authorization covers.
func SignedHeaders(r *http.Request) []string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	list, _, _ := strings.Cut(rest, ",")
	return strings.Split(list, ";")
}

// VerifySigV4 computes the signature of a received request by itself and compares.
// It knows the keys of Credentials.
func VerifySigV4(r *http.Request, body []byte, region, service string) error {
	date := r.Header.Get("X-Amz-Date")
	if len(date) < 8 {
		return fmt.Errorf("bad X-Amz-Date %q", date)
	}
	scope := date[:8] + "/" + region + "/" + service + "/aws4_request"
	_, got, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	if want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" + scope; !strings.HasPrefix(r.Header.Get("Authorization"), want) {
		return fmt.Errorf("bad Authorization %q, want it to begin with %q", r.Header.Get("Authorization"), want)
	}
	names := SignedHeaders(r)
	var headers strings.Builder
	for _, name := range names {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	canonical := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), canonicalQuery(r.URL.Query()), headers.String(), strings.Join(names, ";"), hash(body),
	}, "\n")
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", date, scope, hash([]byte(canonical))}, "\n")
	key := []byte("AWS4" + secretKey)
	for _, part := range []string{date[:8], region, service, "aws4_request", toSign} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if want := hex.EncodeToString(key); got != want {
		return fmt.Errorf("signature %s, want %s", got, want)
	}
	return nil
}

func canonicalQuery(values url.Values) string {
	var parts []string
	for key, list := range values {
		for _, v := range list {
			parts = append(parts, escape(key)+"="+escape(v))
		}
	}
	sort.Strings(parts)
	return strings.Join(parts, "&")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
