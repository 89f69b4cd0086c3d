package publish_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/etcdimg/etcdimg/pkg/publish"
	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// signs is a signer that pushes something, or fails.
type signs struct {
	client *registry.Client
	err    error
}

func (s signs) Sign(ctx context.Context, repo name.Repository, _ []v1.Descriptor) ([]sign.Made, error) {
	if s.err != nil {
		return nil, s.err
	}
	img, err := random.Image(32, 1)
	if err != nil {
		return nil, err
	}
	_, err = s.client.Push(ctx, repo, img)
	return []sign.Made{{Kind: "signature"}}, err
}

func answer(code int, header ...string) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(code)
		return true
	}
}

func cut(w http.ResponseWriter, req *http.Request, _ int) bool {
	_, _ = io.CopyN(io.Discard, req.Body, 64)
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		conn.Close()
	}
	return true
}

// Whatever a registry does, and wherever it begins to: a publish succeeds, or
// the tag names what it named before. What passes does not make it fail.
func TestFaultsMoveNoTagByHalves(t *testing.T) {
	where := map[string]func(req *http.Request) bool{
		"uploads": func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/blobs/uploads/") },
		"blobs":   func(req *http.Request) bool { return req.Method == http.MethodPatch },
		"manifests": func(req *http.Request) bool {
			return req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/sha256:")
		},
		"the tag": func(req *http.Request) bool {
			return req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/manifests/v1")
		},
	}
	faults := map[string]registrytest.Fault{
		"500":             answer(http.StatusInternalServerError),
		"429":             answer(http.StatusTooManyRequests, "Retry-After", "0"),
		"429 for an hour": answer(http.StatusTooManyRequests, "Retry-After", "3600"),
		"token expired":   answer(http.StatusUnauthorized, "WWW-Authenticate", `Basic realm="test"`),
		"connection cut":  cut,
		"slow, then cut": func(w http.ResponseWriter, req *http.Request, n int) bool {
			time.Sleep(20 * time.Millisecond)
			return cut(w, req, n)
		},
	}
	for place, there := range where {
		for kind, fault := range faults {
			for _, lasts := range []bool{false, true} {
				title := kind + " at " + place
				if lasts {
					title += " for good"
				}
				t.Run(title, func(t *testing.T) {
					t.Parallel()
					registryFaults(t, lasts, func(w http.ResponseWriter, req *http.Request, n int) bool {
						return there(req) && (lasts || n == 1) && fault(w, req, n)
					}, !lasts && kind != "429 for an hour" && kind != "token expired")
				})
			}
		}
	}
}

func registryFaults(t *testing.T, lasts bool, fault registrytest.Fault, passes bool) {
	r := registrytest.New(t)
	c, err := registry.New(registry.Options{
		Insecure: registry.Loopback, Keychain: authn.NewMultiKeychain(), Backoff: time.Millisecond, MaxWait: 10 * time.Millisecond, Attempts: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := c.ParseRepository(r.Host + "/etcd")
	if err != nil {
		t.Fatal(err)
	}
	publishIndex := func(x v1.ImageIndex) error {
		_, err := publish.Publish(t.Context(), c, publish.Request{
			What: x, Targets: []publish.Target{{Repository: repo, Tags: []string{"v1"}}}, Signer: signs{client: c}, SignFirst: true,
		})
		return err
	}
	before, after := indexOf(t), indexOf(t)
	if err := publishIndex(before); err != nil {
		t.Fatal(err)
	}
	r.Fail(fault)
	failed := publishIndex(after)
	r.Fail(nil)
	switch {
	case lasts && failed == nil:
		t.Error("it succeeded, though the registry failed to the end")
	case passes && failed != nil:
		t.Errorf("what passes made it fail: %v", failed)
	}
	want := after
	if failed != nil {
		want = before
	}
	holds(t, c, repo.Tag("v1"), want)
	// Whatever happened, the next one gets through.
	if err := publishIndex(after); err != nil {
		t.Fatal(err)
	}
	holds(t, c, repo.Tag("v1"), after)
}

func indexOf(t *testing.T) v1.ImageIndex {
	t.Helper()
	x, err := random.Index(512, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// holds checks that a tag names an index, and that all of it can be read.
func holds(t *testing.T, c *registry.Client, tag name.Tag, want v1.ImageIndex) {
	t.Helper()
	digest, err := want.Digest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Get(tag, c.Remote(t.Context())...)
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != digest {
		t.Errorf("the tag names %s, want %s", d.Digest, digest)
	}
	x, err := d.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range m.Manifests {
		img, err := x.Image(child.Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			rc, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				t.Error(err)
			}
			rc.Close()
		}
	}
}

// With --sign-then-tag nobody sees an unsigned image under the tag.
func TestTagsWaitForSignatures(t *testing.T) {
	for _, first := range []bool{true, false} {
		r := &recorder{after: -1}
		req := request(t)
		req.Signer, req.SignFirst = signs{err: errors.New("no key today")}, first
		_, err := publish.Publish(t.Context(), r, req)
		if err == nil || !strings.Contains(err.Error(), "no key today") {
			t.Errorf("got %v", err)
		}
		if tagged := strings.Contains(strings.Join(r.steps, " "), "tag "); tagged == first {
			t.Errorf("signing first: %v; a tag moved: %v", first, tagged)
		}
	}
}
