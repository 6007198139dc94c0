package app

import (
	"net/http"
	"testing"

	"go.uber.org/zap"

	"ecsagent/agent/config"
)

// Certificates that are not verified are those of ECS and ECR: services that hold secrets
// have theirs verified in any case.
func TestUnverifiedCertificates(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		b := &base{cfg: &config.Config{AcceptInsecureCertificates: insecure}, log: zap.NewNop()}
		if err := b.reachAWS(); err != nil {
			t.Fatal(err)
		}
		skips := func(c *http.Client) bool {
			tls := c.Transport.(*http.Transport).TLSClientConfig
			return tls != nil && tls.InsecureSkipVerify
		}
		if skips(b.http) != insecure || skips(b.verified) {
			t.Errorf("unverified %v: of ECS %v, of others %v", insecure, skips(b.http), skips(b.verified))
		}
	}
}
