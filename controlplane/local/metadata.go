package local

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"ecsagent/controlplane/service"
)

// What the metadata of the pretended EC2 instance says.
const (
	metadataInstance = "i-0ec510ca10ec510ca"
	metadataMAC      = "0e:c5:10:ca:10:01"
	metadataRole     = "ecs-local"
)

// metadata is the least of EC2's instance metadata that an agent needs to run in
// EC2 mode (docs/spec/01 sections 1.2.6 and 5.1). Tokens are given out and not
// asked for.
type metadata struct {
	mu     sync.Mutex
	values map[string]string // by path below /latest/
}

// maxNotice bounds what set takes.
const maxNotice = 64 << 10

// set is PUT and DELETE of a path: it makes EC2 say something that it says later only,
// such as meta-data/spot/instance-action.
func (m *metadata) set(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	text, err := io.ReadAll(io.LimitReader(r.Body, maxNotice))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Method == http.MethodDelete {
		delete(m.values, path)
	} else {
		m.values[path] = string(text)
	}
	w.WriteHeader(http.StatusNoContent)
}

func newMetadata(region, account string) *metadata {
	if region == "" {
		region = service.DefaultRegion
	}
	if account == "" {
		account = service.DefaultAccountID
	}
	arch := map[string]string{"amd64": "x86_64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	document := fmt.Sprintf(`{
  "accountId" : %q,
  "architecture" : %q,
  "availabilityZone" : "%sa",
  "imageId" : "ami-0ec510ca10ec510ca",
  "instanceId" : %q,
  "instanceType" : "t3.medium",
  "privateIp" : "127.0.0.1",
  "region" : %q,
  "version" : "2017-09-30"
}`, account, arch, region, metadataInstance, region)
	mac := "meta-data/network/interfaces/macs/" + metadataMAC + "/"
	return &metadata{values: map[string]string{
		"dynamic/instance-identity/document":                 document,
		"dynamic/instance-identity/signature":                "bG9jYWw=",
		"meta-data/instance-id":                              metadataInstance,
		"meta-data/placement/region":                         region,
		"meta-data/placement/availability-zone":              region + "a",
		"meta-data/placement/availability-zone-id":           "local1-az1",
		"meta-data/mac":                                      metadataMAC,
		mac + "vpc-id":                                       "vpc-0ec510ca1",
		mac + "subnet-id":                                    "subnet-0ec510ca1",
		"meta-data/local-ipv4":                               "127.0.0.1",
		"meta-data/iam/security-credentials":                 metadataRole,
		"meta-data/iam/security-credentials/" + metadataRole: "",
	}}
}

// ServeHTTP implements http.Handler.
func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimRight(strings.TrimPrefix(r.URL.Path, "/latest/"), "/")
	switch {
	case path == "api/token" && r.Method == http.MethodPut:
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = io.WriteString(w, "local") // the client may be gone
	case r.Method != http.MethodGet:
		http.Error(w, "only GET is answered here", http.StatusMethodNotAllowed)
	case path == "meta-data/iam/security-credentials/"+metadataRole:
		writeJSON(w, roleDocument(time.Now()))
	default:
		m.mu.Lock()
		value, ok := m.values[path]
		m.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		if json.Valid([]byte(value)) && strings.HasPrefix(value, "{") {
			w.Header().Set("Content-Type", "application/json")
		} else {
			w.Header().Set("Content-Type", "text/plain")
		}
		_, _ = io.WriteString(w, value) // the client may be gone
	}
}

// roleDocument has keys that open nothing.
func roleDocument(now time.Time) map[string]string {
	return map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAECSLOCAL", "SecretAccessKey": "local", "Token": "local",
		"LastUpdated": now.UTC().Format(time.RFC3339), "Expiration": now.Add(6 * time.Hour).UTC().Format(time.RFC3339),
	}
}
