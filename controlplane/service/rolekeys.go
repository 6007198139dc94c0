package service

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"time"
)

// keysFor are the keys of a set of credentials until it is renewed. They have the form
// of real ones, say that they are local, and open nothing; the same set and expiration
// give the same keys.
func (o *Options) keysFor(id, expiration string) RoleKeys {
	if o.RoleKeys != (RoleKeys{}) {
		return o.RoleKeys
	}
	sum := sha256.Sum256([]byte("ecs-local " + id + " " + expiration))
	return RoleKeys{
		AccessKeyID:     "ASIALOCAL" + base32.StdEncoding.EncodeToString(sum[:])[:11],
		SecretAccessKey: "local/" + base64.RawStdEncoding.EncodeToString(sum[:])[:34],
		SessionToken:    "ecs-local/opens-nothing/" + base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// CredentialsLook is how often renewed credentials have to be looked for, so that they
// reach an agent well before the old ones end.
func CredentialsLook(life time.Duration) time.Duration {
	return min(time.Minute, max(life/8, 200*time.Millisecond))
}
