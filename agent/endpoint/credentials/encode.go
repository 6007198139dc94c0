package credentials

import (
	"encoding/json"
	"unicode/utf8"

	"ecsagent/agent/credentials"
)

// encode is a set on the wire (docs/spec/04 section 2.2): every key is always there. It
// gives the bytes that encoding/json would, at a third of the cost, which is felt where
// many ask.
func encode(set *credentials.Set) []byte {
	members := [...]struct{ opening, value string }{
		{`{"RoleArn":`, set.RoleARN},
		{`,"AccessKeyId":`, set.AccessKeyID},
		{`,"SecretAccessKey":`, set.SecretAccessKey.Reveal()},
		{`,"Token":`, set.SessionToken.Reveal()},
		{`,"Expiration":`, set.Expiration},
	}
	size := len("}")
	for _, m := range members {
		size += len(m.opening) + len(`""`) + len(m.value)
	}
	b := make([]byte, 0, size)
	for _, m := range members {
		b = append(b, m.opening...)
		b = appendText(b, m.value)
	}
	return append(b, '}')
}

// appendText appends a string as encoding/json does.
func appendText(b []byte, s string) []byte {
	if !plain(s) {
		quoted, _ := json.Marshal(s) // there is no string that it fails for
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plain reports whether nothing in a string has to be escaped.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}
