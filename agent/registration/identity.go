package registration

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
)

// Limits of fetching the identity document and its signature, each (docs/spec/01
// section 1.4.3).
const (
	identityMin   = 100 * time.Millisecond
	identityMax   = 5 * time.Second
	identityLimit = 30 * time.Second
)

// IdentitySource gives the instance identity document; *awsenv.IMDS does.
type IdentitySource interface {
	IdentityDocument(context.Context) (string, error)
	IdentitySignature(context.Context) (string, error)
}

// Credentials is the cache of the instance's credentials; *aws.CredentialsCache is
// one.
type Credentials interface {
	Retrieve(context.Context) (aws.Credentials, error)
	Invalidate()
}

// identity returns the document and its signature; what cannot be had is empty. A
// signature without its document proves nothing and is not asked for.
func identity(ctx context.Context, o Options) (document, signature string) {
	document = fetch(ctx, o.Log, "document", o.Identity.IdentityDocument, func() {
		o.Credentials.Invalidate()
		if _, err := o.Credentials.Retrieve(ctx); err != nil {
			o.Log.Debug("credentials not refreshed", zap.Error(err))
		}
	})
	if document == "" {
		return "", ""
	}
	return document, fetch(ctx, o.Log, "signature", o.Identity.IdentitySignature, func() {})
}

// fetch tries for up to 30 s, calling failed after each try that did not succeed.
func fetch(ctx context.Context, log *zap.Logger, what string, get func(context.Context) (string, error), failed func()) string {
	ctx, cancel := context.WithTimeout(ctx, identityLimit)
	defer cancel()
	delay := awsenv.Backoff{Min: identityMin, Max: identityMax, Jitter: 0.2, Multiplier: 2}
	for {
		text, err := get(ctx)
		if err == nil {
			return text
		}
		if !errors.Is(err, awsenv.ErrBlackholed) {
			failed()
			if awsenv.Sleep(ctx, delay.Next()) == nil {
				continue
			}
		}
		log.Warn("instance identity not read, registering without it", zap.String("what", what), zap.Error(err))
		return ""
	}
}
