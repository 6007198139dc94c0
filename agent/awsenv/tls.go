package awsenv

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLSOptions steers the TLS of every connection to AWS.
type TLSOptions struct {
	// InsecureSkipVerify switches verification off (the flag -k).
	InsecureSkipVerify bool
	// CABundle is a PEM file that replaces the system's trust store
	// (AWS_CA_BUNDLE); empty means the system's.
	CABundle string
}

// TLSConfig returns the TLS settings of docs/spec/01 section 2.3. Beside the
// specified TLS 1.2 suites it offers the ECDHE-ECDSA and ChaCha20 ones, so that
// servers with ECDSA certificates can be reached. The server name stays empty: the
// dialers fill in the host without its port.
func TLSConfig(o TLSOptions) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: o.InsecureSkipVerify,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			// The rest has known weaknesses and is kept for the old proxies and
			// endpoints that speak nothing better; TLS orders it last.
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA,
			tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		},
	}
	if o.CABundle != "" {
		pem, err := os.ReadFile(o.CABundle)
		if err != nil {
			return nil, fmt.Errorf("read the CA bundle: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the CA bundle %s: it holds no PEM certificate", o.CABundle)
		}
	}
	return config, nil
}
