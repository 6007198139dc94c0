package secrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"ecsagent/agent/secret"
)

// reference is where a value is in Secrets Manager.
type reference struct {
	id             string // the secret's ARN
	key            string // of its JSON; empty: the whole secret
	stage, version string // empty: the current ones
}

// parseReference reads an ARN with what task definitions put behind it.
func parseReference(valueFrom string) (reference, error) {
	wrong := fmt.Errorf("trying to retrieve secret with value %s resulted in error: an invalid ARN format for the AWS Secrets Manager secret was specified. Specify a valid ARN and try again.", valueFrom)
	a, err := arn.Parse(valueFrom)
	if err != nil || a.Service != asmService {
		return reference{}, wrong
	}
	parts := strings.Split(a.Resource, ":")
	if len(parts) != 2 && len(parts) != 5 || parts[0] != "secret" || parts[1] == "" {
		return reference{}, wrong
	}
	r := reference{}
	if len(parts) == 5 {
		r.key, r.stage, r.version = parts[2], parts[3], parts[4]
	}
	if r.stage == currentStage && r.version == "" {
		r.stage = ""
	}
	a.Resource = "secret:" + parts[1]
	r.id = a.String()
	return r, nil
}

// member is what a container gets of a secret: the whole of it, or one member of its
// JSON. Numbers are as they are written, whatever else is not text is as Go shows it.
func member(value secret.String, key string) (secret.String, error) {
	if key == "" {
		return value, nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(value.Reveal()), &members) != nil { // whose error has a character of the secret
		return "", fmt.Errorf("retrieved secret from Secrets Manager is no JSON object, and json key %s was asked for", key)
	}
	raw, ok := members[key]
	if !ok {
		return "", fmt.Errorf("retrieved secret from Secrets Manager did not contain json key %s", key)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", errors.New("the member cannot be read") // it was read a moment ago
	}
	return secret.String(fmt.Sprint(v)), nil
}

// readValue reads the reply of GetSecretValue. Nothing of it is quoted.
func readValue(body []byte) (secret.String, error) {
	var reply struct{ SecretString *secretText }
	if json.Unmarshal(body, &reply) != nil {
		return "", errors.New("the reply is not that of GetSecretValue")
	}
	if reply.SecretString == nil {
		return "", errors.New("it has no text; a binary secret cannot be given to a container")
	}
	return secret.String(*reply.SecretString), nil
}

// batchReply is the reply of BatchGetSecretValue.
type batchReply struct {
	SecretValues []struct {
		ARN, Name    string
		SecretString *secretText
	}
}

func (b *batchReply) read(body []byte) error {
	if json.Unmarshal(body, b) != nil {
		return errors.New("the reply is not that of BatchGetSecretValue")
	}
	return nil
}

// isTail reports whether text is what Secrets Manager puts behind a name in an ARN: a
// hyphen and six letters or digits.
func isTail(text string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return len(text) == 7 && text[0] == '-' && strings.Trim(text[1:], letters) == ""
}

// find returns the text of a secret; false when the reply has none. An ARN without its
// tail is one too, but the exact one goes first.
func (b *batchReply) find(id string) (secret.String, bool) {
	for _, exact := range []bool{true, false} {
		for _, v := range b.SecretValues {
			rest, begins := strings.CutPrefix(v.ARN, id)
			if begins && v.SecretString != nil && (rest == "" || !exact && isTail(rest)) {
				return secret.String(*v.SecretString), true
			}
		}
	}
	return "", false
}
