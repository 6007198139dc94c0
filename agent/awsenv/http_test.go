package awsenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newServer starts a TLS 1.2 server for "aws.test" with an ECDSA certificate and
// returns it with a file of its certificate.
func newServer(t *testing.T, handler http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "aws.test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return server, bundle
}

// The port must not be part of the name that is verified, and a server with an
// ECDSA certificate must be reachable by TLS 1.2.
func TestClientVerifiesServersOnAnyPort(t *testing.T) {
	server, bundle := newServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) })
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	for _, tt := range []struct {
		name string
		o    TLSOptions
		ok   bool
	}{
		{"trusted by the bundle", TLSOptions{CABundle: bundle}, true},
		{"not trusted", TLSOptions{}, false},
		{"not verified", TLSOptions{InsecureSkipVerify: true}, true},
	} {
		config, err := TLSConfig(tt.o)
		if err != nil {
			t.Fatal(err)
		}
		client := HTTPClient(HTTPOptions{TLS: config})
		resp, err := client.Get(url)
		if (err == nil) != tt.ok {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if err == nil {
			if resp.ProtoMajor != 1 {
				t.Errorf("%s: protocol %s, want HTTP/1.1", tt.name, resp.Proto)
			}
			resp.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

func TestTLSConfigRefusesBadBundles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bundle := range []string{empty, empty + ".missing"} {
		if _, err := TLSConfig(TLSOptions{CABundle: bundle}); err == nil || !strings.Contains(err.Error(), bundle) {
			t.Errorf("%s: error %v, want one that names the file", bundle, err)
		}
	}
}

func TestClientDoesNotFollowRedirects(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect))
	defer server.Close()
	client := HTTPClient(HTTPOptions{})
	defer client.CloseIdleConnections()
	resp, err := client.Post(server.URL, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("status %d", resp.StatusCode)
	}
	if client.Timeout != 42*time.Second {
		t.Errorf("time-out %v", client.Timeout)
	}
}
