package agentlink

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/controlplane/wire"
)

// hello is what the query of an upgrade says (docs/spec/01 sections 2.1 and 4.1).
type hello struct {
	instanceARN     string
	cluster         string
	agentVersion    string
	agentHash       string
	dockerVersion   string
	protocolVersion string
	sendCredentials bool
	request         signedRequest // what TCS frames are signed against
}

// parseHello reads the query. Only the instance is required.
func parseHello(q url.Values, plane Plane) (hello, *wire.Exception) {
	h := hello{
		agentVersion: q.Get("agentVersion"), agentHash: q.Get("agentHash"),
		// ACS sends "DockerVersion: 25.0.8", TCS the bare version.
		dockerVersion:   strings.TrimSpace(strings.TrimPrefix(q.Get("dockerVersion"), "DockerVersion:")),
		protocolVersion: q.Get("protocolVersion"),
		sendCredentials: strings.EqualFold(q.Get("sendCredentials"), "true"),
	}
	member := "containerInstanceArn"
	if plane == TCS {
		member = "containerInstance"
		h.cluster = q.Get("cluster")
	} else {
		h.cluster = q.Get("clusterArn")
	}
	h.instanceARN = q.Get(member)
	if h.instanceARN == "" {
		return hello{}, &wire.Exception{Type: wire.BadRequest, Message: "the query has no " + member}
	}
	return h, nil
}

// greet decides whether a handshake is accepted.
func (h *Hub) greet(r *http.Request, plane Plane) (hello, *wire.Exception) {
	if exc := h.faults.refusal(); exc != nil {
		return hello{}, exc
	}
	if !strings.HasSuffix(r.URL.Path, "/ws") {
		return hello{}, &wire.Exception{Type: wire.BadRequest, Message: "the path " + r.URL.Path + " does not end in /ws"}
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return hello{}, &wire.Exception{Type: wire.BadRequest, Message: "a websocket upgrade is expected here"}
	}
	req := signedRequest{Host: r.Host, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery}
	if err := req.check(r.Header, nil, h.keys, time.Now()); err != nil {
		return hello{}, &wire.Exception{Type: wire.AccessDenied, Message: err.Error()}
	}
	hi, exc := parseHello(r.URL.Query(), plane)
	if exc != nil {
		return hello{}, exc
	}
	if exc := h.authorize(hi); exc != nil {
		return hello{}, exc
	}
	hi.request = req
	return hi, nil
}

func (h *Hub) authorize(hi hello) *wire.Exception {
	err := h.backend.Authorize(hi.instanceARN, hi.cluster)
	if err == nil {
		return nil
	}
	var exc *wire.Exception
	if !errors.As(err, &exc) {
		exc = &wire.Exception{Type: wire.Server, Message: err.Error()}
	}
	return exc
}

// refuse answers a handshake with an exception, in the form of docs/spec/01
// section 2.6 that the options select.
func (h *Hub) refuse(w http.ResponseWriter, plane Plane, exc *wire.Exception) {
	h.log.Info("handshake refused", zap.Stringer("plane", plane), zap.Error(exc))
	status := http.StatusBadRequest
	if exc.Type == wire.Server {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", exc.Type)
	w.WriteHeader(status)
	_, _ = w.Write(refusalBody(exc, h.framed || h.faults.framedRefusals())) // the peer may be gone
}

func refusalBody(exc *wire.Exception, framed bool) []byte {
	var body any = map[string]string{exc.Type: exc.Message}
	if framed {
		body = map[string]any{"type": exc.Type, "message": exceptionBody{exc.Message}}
	}
	out, err := json.Marshal(body)
	if err != nil { // maps of strings always encode
		return nil
	}
	return out
}

// refuseUpgrade answers requests that are upgrades, but broken ones.
func refuseUpgrade(w http.ResponseWriter, _ *http.Request, status int, reason error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(refusalBody(&wire.Exception{Type: wire.BadRequest, Message: reason.Error()}, false))
}
