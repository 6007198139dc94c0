package volumeplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"ecsagent/ecsinit/staging"
)

const (
	mediaType = "application/vnd.docker.plugins.v1.1+json"
	// maxRequest bounds a request, in bytes.
	maxRequest = 1 << 20
	// quick is for everything but a mount: Docker waits for a minute.
	quick = 50 * time.Second
	// StageLimit is for an EBS volume, which may have to be formatted.
	StageLimit = 10 * time.Minute
	// MountLimit is the default for a mount: Docker waits for two minutes.
	MountLimit = 110 * time.Second
)

// errEmpty is the answer to what Docker makes of a question that it asks again: it sends
// it without its content when the first plugin that it asked ended meanwhile.
var errEmpty = errors.New("the request names no volume: Docker repeats requests so when the volume plugin was restarted; do it again")

// request is what Docker asks; each call needs a part of it.
type request struct {
	Name string
	ID   string
	Opts map[string]string
}

// described is a volume as Docker wants it described.
type described struct {
	Name       string
	Mountpoint string `json:",omitempty"`
	CreatedAt  string `json:",omitempty"`
}

type (
	nothing   struct{}
	failure   struct{ Err string }
	activated struct{ Implements []string }
	mounted   struct{ Mountpoint string }
	one       struct{ Volume described }
	all       struct{ Volumes []described }
	abilities struct{ Capabilities struct{ Scope string } }
)

// handler answers Docker (docs/spec/03 section 5.10).
func (d *Driver) handler(mountLimit time.Duration) http.Handler {
	mux := http.NewServeMux()
	on := func(path string, limit time.Duration, fn func(context.Context, request) (any, error)) {
		mux.Handle("POST /"+path, answer(limit, fn))
	}
	of := func(path string, limit time.Duration, fn func(context.Context, request) (any, error)) {
		on(path, limit, func(ctx context.Context, r request) (any, error) {
			if r.Name == "" && r.ID == "" {
				return nil, errEmpty
			}
			return fn(ctx, r)
		})
	}
	on("Plugin.Activate", quick, func(context.Context, request) (any, error) {
		return activated{[]string{"VolumeDriver"}}, nil
	})
	on("VolumeDriver.Capabilities", quick, func(context.Context, request) (any, error) {
		var a abilities
		a.Capabilities.Scope = "local"
		return a, nil
	})
	of("VolumeDriver.Create", quick, func(ctx context.Context, r request) (any, error) {
		return nothing{}, d.create(ctx, r.Name, r.Opts)
	})
	of("VolumeDriver.Mount", mountLimit, func(ctx context.Context, r request) (any, error) {
		path, err := d.mount(ctx, r.Name, r.ID)
		return mounted{path}, err
	})
	of("VolumeDriver.Unmount", quick, func(ctx context.Context, r request) (any, error) {
		return nothing{}, d.unmount(ctx, r.Name, r.ID)
	})
	of("VolumeDriver.Remove", quick, func(ctx context.Context, r request) (any, error) {
		return nothing{}, d.remove(ctx, r.Name)
	})
	of("VolumeDriver.Path", quick, func(_ context.Context, r request) (any, error) {
		v, err := d.known(r.Name)
		return mounted{v.Path}, err
	})
	of("VolumeDriver.Get", quick, func(_ context.Context, r request) (any, error) {
		v, err := d.known(r.Name)
		return one{described{r.Name, v.Path, v.CreatedAt}}, err
	})
	on("VolumeDriver.List", quick, func(context.Context, request) (any, error) {
		list := []described{}
		for _, name := range d.names() {
			list = append(list, described{Name: name})
		}
		return all{list}, nil
	})
	// What the agent asks: not a part of Docker's protocol.
	mux.Handle("POST /EBS.Stage", answer(StageLimit, func(ctx context.Context, r staging.Request) (any, error) {
		return nothing{}, d.do(ctx, stagingOf+r.Name, "stage", func() error { return d.stager.Stage(ctx, r) })
	}))
	mux.Handle("POST /EBS.Unstage", answer(quick, func(ctx context.Context, r staging.Request) (any, error) {
		return nothing{}, d.do(ctx, stagingOf+r.Name, "unstage", func() error { return d.stager.Unstage(ctx, r.Name) })
	}))
	mux.Handle("POST /EBS.Usage", answer(quick, func(_ context.Context, r staging.Request) (any, error) {
		return d.stager.Usage(r.Name) // it waits for nothing that is done to the volume
	}))
	return mux
}

// stagingOf keeps names of folders apart from those of Docker's volumes.
const stagingOf = "EBS volume "

func answer[R any](limit time.Duration, fn func(context.Context, R) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		var r R
		body := http.MaxBytesReader(w, hr.Body, maxRequest)
		if err := json.NewDecoder(body).Decode(&r); err != nil && !errors.Is(err, io.EOF) { // some have no body
			http.Error(w, fmt.Sprintf("decode request: %v", err), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(hr.Context(), limit)
		defer cancel()
		code := http.StatusOK
		result, err := fn(ctx, r)
		if err != nil {
			code, result = http.StatusInternalServerError, failure{err.Error()}
			if errors.Is(err, staging.ErrNoDevice) {
				code = http.StatusNotFound
			}
		}
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(result) // who asked may have gone
	})
}
