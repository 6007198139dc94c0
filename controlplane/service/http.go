package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/controlplane/api"
)

// maxBody bounds a request; the largest that ECS takes is far smaller.
const maxBody = 1 << 20

// call is one request to an operation.
type call struct {
	host string // as the caller named it, for DiscoverPollEndpoint
	tls  bool
}

// operation is the handler of one operation.
type operation func(s *Service, c *call, body []byte) (any, error)

// op makes an operation of a typed handler.
func op[In, Out any](handle func(*Service, *In) (*Out, error)) operation {
	return opCall(func(s *Service, _ *call, in *In) (*Out, error) { return handle(s, in) })
}

func opCall[In, Out any](handle func(*Service, *call, *In) (*Out, error)) operation {
	return func(s *Service, c *call, body []byte) (any, error) {
		in := new(In)
		if err := decode(body, in); err != nil {
			return nil, err
		}
		return handle(s, c, in)
	}
}

func decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	err := json.Unmarshal(body, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return api.Errorf(api.SerializationException, "%s value cannot be converted to %s in member %s", wrong.Value, wrong.Type, wrong.Field)
	}
	return api.Errorf(api.SerializationException, "%v", err)
}

var operations = map[string]operation{
	"CreateCluster":             op((*Service).createCluster),
	"DescribeClusters":          op((*Service).describeClusters),
	"ListClusters":              op((*Service).listClusters),
	"DeleteCluster":             op((*Service).deleteCluster),
	"DescribeCapacityProviders": op((*Service).describeCapacityProviders),
	"ListServices":              op((*Service).listServices),
	"DescribeServices":          op((*Service).describeServices),

	"RegisterTaskDefinition":     op((*Service).registerTaskDefinition),
	"DescribeTaskDefinition":     op((*Service).describeTaskDefinition),
	"DeregisterTaskDefinition":   op((*Service).deregisterTaskDefinition),
	"DeleteTaskDefinitions":      op((*Service).deleteTaskDefinitions),
	"ListTaskDefinitions":        op((*Service).listTaskDefinitions),
	"ListTaskDefinitionFamilies": op((*Service).listTaskDefinitionFamilies),

	"RunTask":              op((*Service).runTask),
	"StartTask":            op((*Service).startTask),
	"StopTask":             op((*Service).stopTask),
	"DescribeTasks":        op((*Service).describeTasks),
	"ExecuteCommand":       opCall((*Service).executeCommand),
	"ListTasks":            op((*Service).listTasks),
	"GetTaskProtection":    op((*Service).getTaskProtection),
	"UpdateTaskProtection": op((*Service).updateTaskProtection),

	"ListContainerInstances":        op((*Service).listContainerInstances),
	"DescribeContainerInstances":    op((*Service).describeContainerInstances),
	"UpdateContainerInstancesState": op((*Service).updateContainerInstancesState),
	"UpdateContainerAgent":          op((*Service).updateContainerAgent),
	"DeregisterContainerInstance":   op((*Service).deregisterContainerInstance),
	"PutAttributes":                 op((*Service).putAttributes),
	"DeleteAttributes":              op((*Service).deleteAttributes),
	"ListAttributes":                op((*Service).listAttributes),

	"TagResource":         op((*Service).tagResource),
	"UntagResource":       op((*Service).untagResource),
	"ListTagsForResource": op((*Service).listTagsForResource),

	"RegisterContainerInstance":    op((*Service).registerContainerInstance),
	"DiscoverPollEndpoint":         opCall((*Service).discoverPollEndpoint),
	"SubmitTaskStateChange":        op((*Service).submitTaskStateChange),
	"SubmitContainerStateChange":   op((*Service).submitContainerStateChange),
	"SubmitAttachmentStateChanges": op((*Service).submitAttachmentStateChanges),
}

// ServeHTTP serves the ECS API (docs/spec/01 section 1.1) to users and agents.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), api.TargetPrefix)
	out, err := s.serve(w, r, name)
	header := w.Header()
	header.Set("Content-Type", "application/x-amz-json-1.1")
	header.Set("X-Amzn-RequestId", uuid.NewString())
	status := http.StatusOK
	if err != nil {
		var e *api.Error
		if !errors.As(err, &e) {
			e = api.Errorf(api.ServerException, "%v", err)
		}
		s.log.Debug("call refused", zap.String("operation", clip(name)), zap.Error(e))
		header.Set("X-Amzn-ErrorType", e.Code)
		status = e.Status
		out = map[string]string{"__type": e.Code, "message": e.Message}
	}
	body, err := json.Marshal(out)
	if err != nil {
		s.log.Error("answer cannot be encoded", zap.String("operation", name), zap.Error(err))
		status, body = http.StatusInternalServerError, []byte(`{"__type":"ServerException"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that has gone needs no answer
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request, name string) (any, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" && r.URL.Path != "" {
		return nil, &api.Error{Code: api.UnknownOperationException, Message: "Send operations with POST to /.", Status: http.StatusNotFound}
	}
	// Browsers name the page that sends a request; nothing else that calls ECS does.
	if r.Header.Get("Origin") != "" {
		return nil, &api.Error{Code: api.AccessDeniedException, Message: "Requests from web pages are refused.", Status: http.StatusForbidden}
	}
	if err := checkSignature(r.Header.Get("Authorization")); err != nil {
		return nil, err
	}
	handle, ok := operations[name]
	switch {
	case ok:
	case api.Known(name):
		return nil, api.Errorf(api.UnsupportedFeatureException, "The local ECS does not support %s.", name)
	default:
		return nil, api.Errorf(api.UnknownOperationException, "Unknown operation.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return nil, &api.Error{Code: "RequestEntityTooLarge", Message: "The request has more than 1048576 bytes.", Status: http.StatusRequestEntityTooLarge}
		}
		return nil, api.Errorf(api.SerializationException, "The request could not be read: %v", err)
	}
	return handle(s, &call{host: r.Host, tls: r.TLS != nil}, body)
}

var signature = regexp.MustCompile(`^AWS4-HMAC-SHA256 +Credential=[^/,\s]+/\d{8}/[^/,\s]+/[^/,\s]+/aws4_request, *SignedHeaders=[^,\s]+, *Signature=[0-9a-f]{64}$`)

// checkSignature wants a SigV4 signature of whatever credentials: it is not
// verified, but a client that forgets to sign is told.
func checkSignature(authorization string) error {
	switch {
	case authorization == "":
		return api.Errorf(api.MissingAuthenticationTokenException, "Missing Authentication Token")
	case !signature.MatchString(authorization):
		return api.Errorf(api.IncompleteSignatureException, "The Authorization header is not a SigV4 signature.")
	}
	return nil
}
