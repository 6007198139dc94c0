package awsfolder

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"go.uber.org/zap"
)

// maxRequest bounds the body of a request.
const maxRequest = 1 << 20

// Options make Services.
type Options struct {
	Dir     string
	Region  string // of what is not in the folder of a region
	Account string
	Log     *zap.Logger // nil: none
}

// Services serve a folder. They implement http.Handler.
type Services struct {
	root      *os.Root
	region    string
	account   string
	log       *zap.Logger
	signature *regexp.Regexp
	faults    faults
}

// Open serves a folder, which may be filled later.
func Open(o Options) (*Services, error) {
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of services: %w", err)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Services{
		root: root, region: o.Region, account: o.Account, log: o.Log,
		signature: regexp.MustCompile(`^AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request, *SignedHeaders=[^,\s]+, *Signature=[0-9a-f]{64}$`),
	}, nil
}

// Close ends the serving. Requests must have ended.
func (s *Services) Close() error { return s.root.Close() }

// targets are the JSON services by the beginning of X-Amz-Target, as SigV4 calls them.
var targets = map[string]string{
	"AmazonSSM.":                            "ssm",
	"secretsmanager.":                       "secretsmanager",
	"AmazonEC2ContainerRegistry_V20150921.": "ecr",
}

// request is what is common to requests of all services.
type request struct {
	service, operation string
	region             string   // that it is signed for
	key                string   // access key id
	names              []string // what is asked for
	body               []byte   // of JSON services
}

// refusal is an answer in the words of a service.
type refusal struct {
	status  int
	code    string
	message string
	region  string // S3: where the bucket is
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, code: code, message: fmt.Sprintf(format, args...)}
}

// Serves reports whether a request is for one of the services.
func (s *Services) Serves(r *http.Request) bool {
	service, _ := operationOf(r)
	return service != "" || s.signedFor(r) == "s3"
}

// operationOf names the operation of a JSON service.
func operationOf(r *http.Request) (service, operation string) {
	target := r.Header.Get("X-Amz-Target")
	for prefix, service := range targets {
		if operation, ok := strings.CutPrefix(target, prefix); ok {
			return service, operation
		}
	}
	return "", ""
}

// signedFor is the service in the signature; empty without one.
func (s *Services) signedFor(r *http.Request) string {
	if m := s.signature.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[3]
	}
	return ""
}

// ServeHTTP implements http.Handler.
func (s *Services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{}
	q.service, q.operation = operationOf(r)
	if q.service == "" {
		q.service = "s3"
	}
	refused := s.begin(w, r, q)
	if q.service == "s3" {
		s.serveS3(w, r, q, refused)
	} else {
		s.serveJSON(w, r, q, refused)
	}
}

// begin reads the request as far as it is the same everywhere.
func (s *Services) begin(w http.ResponseWriter, r *http.Request, q *request) *refusal {
	m := s.signature.FindStringSubmatch(r.Header.Get("Authorization"))
	switch {
	case r.Header.Get("Origin") != "": // a web page; nothing else that calls the services names one
		return refuse("AccessDeniedException", "Requests from web pages are refused.")
	case m == nil || m[3] != q.service:
		return refuse("IncompleteSignatureException", "The request is not signed with SigV4 for %s.", q.service)
	}
	q.key, q.region = m[1], m[2]
	if q.service == "s3" {
		return nil
	}
	var err error
	if q.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest)); err != nil {
		return refuse("SerializationException", "The request cannot be read: %v.", err)
	}
	return nil
}

// operations of the JSON services, by service and name.
var operations = map[string]func(*Services, *request) (any, error){
	"ssm GetParameters":                  (*Services).getParameters,
	"ssm GetParameter":                   (*Services).getParameter,
	"secretsmanager GetSecretValue":      (*Services).getSecretValue,
	"secretsmanager BatchGetSecretValue": (*Services).batchGetSecretValue,
	"ecr GetAuthorizationToken":          (*Services).getAuthorizationToken,
}

func (s *Services) serveJSON(w http.ResponseWriter, r *http.Request, q *request, refused *refusal) {
	var reply any
	if refused == nil {
		reply, refused = s.answer(r, q)
	}
	s.note(q, refused)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if refused != nil {
		w.WriteHeader(refused.status)
		reply = map[string]string{"__type": refused.code, "message": refused.message, "Message": refused.message}
	}
	_ = json.NewEncoder(w).Encode(reply) // the client may be gone
}

func (s *Services) answer(r *http.Request, q *request) (any, *refusal) {
	operation, ok := operations[q.service+" "+q.operation]
	if !ok {
		return nil, refuse("UnknownOperationException", "The local %s does not know %s.", q.service, q.operation)
	}
	// Names first: faults may be about some.
	q.names = namesIn(q.body)
	if refused := s.fault(r.Context(), q); refused != nil {
		return nil, refused
	}
	reply, err := operation(s, q)
	return reply, asRefusal(err)
}

// namesIn are the names in a request of any of the JSON services.
func namesIn(body []byte) []string {
	var in struct {
		Name, SecretId                   string //nolint:revive // names of the API
		Names, SecretIdList, RegistryIds []string
	}
	_ = json.Unmarshal(body, &in) // the operation tells what is wrong with it
	names := append(append(in.Names, in.SecretIdList...), in.RegistryIds...)
	for _, one := range []string{in.Name, in.SecretId} {
		if one != "" {
			names = append(names, one)
		}
	}
	return names
}

// decode reads the request of an operation.
func (q *request) decode(into any) error {
	if err := json.Unmarshal(q.body, into); err != nil {
		return refuse("SerializationException", "The request is not the JSON of %s: %v.", q.operation, err)
	}
	return nil
}

// note tells of a request; values are in none of its words.
func (s *Services) note(q *request, refused *refusal) {
	fields := []zap.Field{
		zap.String("service", q.service), zap.String("operation", q.operation), zap.String("region", q.region),
		zap.Strings("names", q.names), zap.String("key", q.key),
	}
	if refused != nil {
		fields = append(fields, zap.String("refused", refused.Error()))
	}
	s.log.Info("asked", fields...)
}
