package credentials

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ecsagent/agent/credentials"
	"ecsagent/agent/secret"
)

// What is written by hand is what encoding/json writes.
func TestEncode(t *testing.T) {
	type body struct{ RoleArn, AccessKeyId, SecretAccessKey, Token, Expiration string } //nolint:revive // the wire's names
	texts := rapid.OneOf(
		rapid.String(), rapid.StringMatching(`[A-Za-z0-9/+=:.-]*`),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", `"`, `\`, "<", ">", "&", "\x7f", "\x1f", " ", "\u2028", "é", "\xff", strings.Repeat("t", 1000)}),
	)
	rapid.Check(t, func(t *rapid.T) {
		b := body{texts.Draw(t, "role"), texts.Draw(t, "key"), texts.Draw(t, "secret"), texts.Draw(t, "token"), texts.Draw(t, "expiration")}
		want, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		got := encode(&credentials.Set{
			RoleARN: b.RoleArn, AccessKeyID: b.AccessKeyId, SecretAccessKey: secret.String(b.SecretAccessKey),
			SessionToken: secret.String(b.Token), Expiration: b.Expiration,
		})
		if string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
