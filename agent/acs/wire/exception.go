package wire

import (
	"encoding/json"
	"strings"
)

// Names of the exceptions that ACS refuses a connection with, or sends on one
// (docs/spec/01 section 2.6).
const (
	ServerException           = "ServerException"
	BadRequestException       = "BadRequestException"
	InvalidClusterException   = "InvalidClusterException"
	InvalidInstanceException  = "InvalidInstanceException"
	AccessDeniedException     = "AccessDeniedException"
	InactiveInstanceException = "InactiveInstanceException"
)

var exceptions = map[string]bool{
	ServerException: true, BadRequestException: true, InvalidClusterException: true,
	InvalidInstanceException: true, AccessDeniedException: true, InactiveInstanceException: true,
}

// Exception is an error that ACS names.
type Exception struct {
	Type    string
	Message string
}

// Error renders the exception as "Type: message".
func (e *Exception) Error() string { return e.Type + ": " + e.Message }

// DecodeException reads the body of a refused handshake, framed as
// {"type":"X","message":{"message":"text"}} or unframed as {"X":"text"}. Only the
// decoded name counts, never a word somewhere in the body.
func DecodeException(body []byte) (*Exception, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil, false
	}
	var name string
	for member, raw := range members {
		if strings.EqualFold(member, "type") && json.Unmarshal(raw, &name) == nil && exceptions[name] {
			return &Exception{Type: name, Message: messageText(memberOf(members, "message"))}, true
		}
	}
	if len(members) != 1 {
		return nil, false
	}
	for member, raw := range members {
		var text string
		if exceptions[member] && json.Unmarshal(raw, &text) == nil {
			return &Exception{Type: member, Message: clipMessage(text)}, true
		}
	}
	return nil, false
}

// messageText reads the text of {"message":"text"} or of a plain string.
func messageText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return clipMessage(text)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) == nil {
		_ = json.Unmarshal(memberOf(members, "message"), &text) // no text is fine
	}
	return clipMessage(text)
}

func memberOf(members map[string]json.RawMessage, name string) json.RawMessage {
	if raw, ok := members[name]; ok {
		return raw
	}
	for member, raw := range members {
		if strings.EqualFold(member, name) {
			return raw
		}
	}
	return nil
}

// clipMessage bounds a text that goes to the log.
func clipMessage(s string) string {
	if len(s) > 1024 {
		return strings.ToValidUTF8(s[:1024], "")
	}
	return s
}
