package image

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"ecsagent/agent/runtime"
)

// fetch gets the image from its registry, or finds that the registry's image is
// already here. Whoever asks while that goes on shares it.
func (p *Puller) fetch(ctx context.Context, n name, req Request) (runtime.Image, error) {
	login, err := p.logins.find(n, req)
	if err != nil {
		return runtime.Image{}, err
	}
	key := pullKey(n, req, login)
	return p.pulls.do(ctx, key, func(ctx context.Context) (runtime.Image, error) {
		if req.Digest != "" && n.digest == "" {
			// The registry said a moment ago which image the name means. When the name
			// means it here too, a pull would change nothing.
			if img, err := p.inspect(ctx, n); err == nil && n.digestIn(img) == req.Digest {
				p.accounts.Confirmed(n.given)
				return img, nil
			}
		}
		return p.pull(ctx, n, req.Digest, login, key)
	})
}

// pullKey is equal for requests that share a pull.
func pullKey(n name, req Request, login login) string {
	return n.given + " " + req.Digest + " " + login.key
}

// Progress tells how the pull of a request goes: "3rd in queue", or how far it is and
// what went wrong. It is empty when there is nothing to say.
func (p *Puller) Progress(req Request) string {
	n, err := parseName(req.Ref, namePull)
	if err != nil {
		return ""
	}
	login, err := p.logins.find(n, req)
	if err != nil {
		return ""
	}
	return p.transfers.text(pullKey(n, req, login))
}

// pull is one pull, whoever wants it.
func (p *Puller) pull(ctx context.Context, n name, digest string, login login, key string) (runtime.Image, error) {
	p.claims.want(n.local())
	defer p.claims.leave(n.local())
	t := p.transfers.open(key, p.queue.join(), p.now)
	defer p.transfers.close(key, t)
	if err := t.turn.wait(ctx); err != nil {
		return runtime.Image{}, err
	}
	started := p.now()
	for again := false; ; again = true {
		if err := p.transfer(ctx, n, digest, login, t); err != nil {
			return runtime.Image{}, err
		}
		p.local.forget(n.given)
		img, err := p.inspect(ctx, n)
		switch {
		case err == nil:
			p.accounts.Confirmed(n.given)
		case errors.Is(err, context.Canceled):
			return runtime.Image{}, err
		case errors.Is(err, runtime.ErrNotFound) && !again:
			continue // a removal that had begun before the pull took it away
		case errors.Is(err, runtime.ErrNotFound):
			return runtime.Image{}, failure(namePull, fmt.Sprintf("image %q is gone right after its pull", n.given), runtime.ErrNotFound, err)
		default:
			// It is there; only what it says of itself is not known.
			p.log.Warn("pulled image not inspected", zap.String("image", n.given), zap.Error(err))
		}
		p.log.Info("image pulled", zap.String("image", n.given), zap.Duration("took", p.now().Sub(started)))
		return img, nil
	}
}

// transfer pulls the image and gives it the name by which tasks know it.
func (p *Puller) transfer(ctx context.Context, n name, digest string, login login, t *transfer) error {
	ref := n.pullRef(digest)
	var last error
	err := p.limits.PullRetry.try(ctx, p.limits.Pull, "pulled", func(ctx context.Context) error {
		t.begin(explain(last, namePull, n.given))
		last = login.with(ctx, func(auth *runtime.RegistryAuth) error { return p.engine.Pull(ctx, ref, auth, t.hear) })
		p.ended()
		return last
	})
	if err != nil || n.digest != "" || digest == "" {
		return err
	}
	err = p.limits.TagRetry.try(ctx, p.limits.Tag, "pulled", func(ctx context.Context) error {
		return p.engine.Tag(ctx, ref, n.tag())
	})
	if err != nil {
		return fmt.Errorf("tag image %q as %q: %w", ref, n.tag(), err)
	}
	return nil
}
