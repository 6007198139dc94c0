package wine

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// secured is an ecs-local behind TLS, as ECS is.
type secured struct {
	*httptest.Server
	certificate []byte // DER

	mu      sync.Mutex
	sockets []string // addresses of the websockets that came
}

// newSecured passes on what comes by TLS to an address, whose answers lead agents back here.
func newSecured(t *testing.T, address string) *secured {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ECS of a test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{certificate: der}
	s.Server = httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // which is signed
			if r.In.Header.Get("Upgrade") != "" {
				s.mu.Lock()
				s.sockets = append(s.sockets, r.In.URL.String())
				s.mu.Unlock()
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasSuffix(r.Request.Header.Get("X-Amz-Target"), ".DiscoverPollEndpoint") {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			body = bytes.ReplaceAll(body, []byte("http://"), []byte("https://"))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	})
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	// Wine compares a certificate's names, and not its addresses.
	s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	return s
}

// cameTo reports whether a websocket came whose address contains a text.
func (s *secured) cameTo(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.sockets, " "), text)
}

// trust puts the server's certificate among those that this Windows trusts, as an
// administrator would with that of a company.
func (w *windows) trust(s *secured) {
	w.t.Helper()
	const certificate = 32 // CERT_CERT_PROP_ID
	der := s.certificate
	blob := binary.LittleEndian.AppendUint32(nil, certificate)
	blob = binary.LittleEndian.AppendUint32(blob, 1)
	blob = binary.LittleEndian.AppendUint32(blob, uint32(len(der)))
	blob = append(blob, der...)
	name := sha1.Sum(der)
	w.run("reg", "add", `HKLM\Software\Microsoft\SystemCertificates\Root\Certificates\`+strings.ToUpper(hex.EncodeToString(name[:])),
		"/v", "Blob", "/t", "REG_BINARY", "/d", hex.EncodeToString(blob), "/f")
}
