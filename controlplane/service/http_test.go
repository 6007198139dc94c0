package service

import (
	"net/http"
	"strings"
	"testing"

	"ecsagent/controlplane/api"
)

func TestProtocol(t *testing.T) {
	w := newWorld(t, "")
	const signed = "AWS4-HMAC-SHA256 Credential=any/20260301/us-east-1/ecs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" +
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, tt := range map[string]struct {
		method, path, operation, auth, origin, body string
		code                                        string
		status                                      int
	}{
		"not signed":       {operation: "ListClusters", auth: "-", code: "MissingAuthenticationTokenException", status: 400},
		"wrong scheme":     {operation: "ListClusters", auth: "Basic Zm9v", code: "IncompleteSignatureException", status: 400},
		"from a page":      {operation: "ListClusters", origin: "https://example.com", code: "AccessDeniedException", status: 403},
		"not an operation": {operation: "MakeCoffee", code: "UnknownOperationException", status: 400},
		"no operation":     {operation: "", code: "UnknownOperationException", status: 400},
		"not served":       {operation: "CreateService", code: "UnsupportedFeatureException", status: 400},
		"get":              {method: http.MethodGet, operation: "ListClusters", code: "UnknownOperationException", status: 404},
		"other path":       {path: "/v1", operation: "ListClusters", code: "UnknownOperationException", status: 404},
		"broken body":      {operation: "ListClusters", body: `{"maxResults":`, code: "SerializationException", status: 400},
		"wrong type":       {operation: "ListClusters", body: `{"nextToken":7}`, code: "SerializationException", status: 400},
		"fraction":         {operation: "ListClusters", body: `{"maxResults":1.5}`, code: "SerializationException", status: 400},
		"too large":        {operation: "ListClusters", body: `{"nextToken":"` + strings.Repeat("x", maxBody) + `"}`, code: "RequestEntityTooLarge", status: 413},
		"bad page size":    {operation: "ListClusters", body: `{"maxResults":0}`, code: "InvalidParameterException", status: 400},
		"bad token":        {operation: "ListClusters", body: `{"nextToken":"?"}`, code: "InvalidParameterException", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = http.MethodPost
			}
			req, err := http.NewRequest(method, w.http.URL+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", api.TargetPrefix+tt.operation)
			switch tt.auth {
			case "-":
			case "":
				req.Header.Set("Authorization", signed)
			default:
				req.Header.Set("Authorization", tt.auth)
			}
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			err = do(req, nil)
			wantError(t, err, tt.code, "")
			if got := err.(*api.Error).Status; got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
		})
	}
}

func TestEveryOperationHasAName(t *testing.T) {
	for name := range operations {
		if !api.Known(name) {
			t.Errorf("%s is served but ECS has no such operation", name)
		}
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t, "")
	want := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		want[must[api.ClusterResponse](w, "CreateCluster", m{"clusterName": name}).Cluster.ClusterARN] = true
	}
	token, pages := "", 0
	for {
		out := must[api.ListClustersResponse](w, "ListClusters", m{"maxResults": 2, "nextToken": token})
		for _, arn := range out.ClusterARNs {
			if !want[arn] {
				t.Fatalf("%s came twice", arn)
			}
			delete(want, arn)
		}
		pages++
		// A cluster that goes between two pages makes the list neither repeat nor skip.
		if pages == 1 {
			must[api.ClusterResponse](w, "DeleteCluster", m{"cluster": "a"})
		}
		if token = out.NextToken; token == "" {
			break
		}
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d pages left out %v", pages, want)
	}
}
