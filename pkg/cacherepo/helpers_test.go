package cacherepo_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/cacherepo"
	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

// machine is one with a disk of its own.
type machine struct {
	*cacherepo.Store
	disk *cache.Cache
	said bytes.Buffer // warnings
}

func client(t *testing.T) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Options{Insecure: registry.Loopback, Attempts: 1, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func repository(t *testing.T, r *registrytest.Registry) name.Repository {
	t.Helper()
	repo, err := name.NewRepository(r.Host + "/cache")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// newMachine has an empty disk.
func newMachine(t *testing.T, r *registrytest.Registry, change func(*cacherepo.Options)) *machine {
	t.Helper()
	disk, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return onDisk(t, r, disk, change)
}

func onDisk(t *testing.T, r *registrytest.Registry, disk *cache.Cache, change func(*cacherepo.Options)) *machine {
	t.Helper()
	m := &machine{disk: disk}
	o := cacherepo.Options{Repository: repository(t, r), Kinds: []string{"thing"}, Log: slog.New(slog.NewTextHandler(&m.said, nil))}
	if change != nil {
		change(&o)
	}
	m.Store = cacherepo.New(t.Context(), disk, client(t), o)
	return m
}

func readOnly(o *cacherepo.Options) { o.ReadOnly = true }

// thing is what the tests make.
type thing struct {
	Digest string `json:"digest"`
	Other  string `json:"other"` // a digest of something that nobody keeps
}

// The keys of two things.
var key, other = cache.Key("what determines it"), cache.Key("what determines another")

// make does what a builder does: look up, else make and remember.
func (m *machine) make(t *testing.T, key, content string) (made bool) {
	t.Helper()
	var found thing
	err := m.ReadRecord("thing", key, &found)
	if err == nil && m.Has(found.Digest) {
		return false
	}
	if err != nil && !errors.Is(err, cache.ErrNotFound) {
		t.Fatal(err)
	}
	digest, _, err := m.Put(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteRecord("thing", key, thing{digest, "sha256:" + cache.Key("nothing")}); err != nil {
		t.Fatal(err)
	}
	return true
}

// read reads what was made, and makes it again where it is lost.
func (m *machine) read(t *testing.T, key, content string) (made bool) {
	t.Helper()
	for range 2 {
		made = m.make(t, key, content) || made
		var found thing
		if err := m.ReadRecord("thing", key, &found); err != nil {
			t.Fatal(err)
		}
		f, err := m.Open(found.Digest)
		if errors.Is(err, cache.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil || string(b) != content {
			t.Fatalf("read %q, %v, want %q", b, err, content)
		}
		return made
	}
	t.Fatal("lost twice")
	return false
}

// swap has a key's tag name another key's entry.
func swap(t *testing.T, r *registrytest.Registry, key, other string) {
	t.Helper()
	c, repo := client(t), repository(t, r)
	d, err := c.Get(t.Context(), repo.Tag("thing-"+other))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Tag(t.Context(), repo.Digest(d.Digest.String()), "thing-"+key); err != nil {
		t.Fatal(err)
	}
}

// put writes a manifest and a blob past the Store.
func put(t *testing.T, r *registrytest.Registry, key string, manifest, blob []byte) {
	t.Helper()
	send := func(method, path, contentType string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, r.Server.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
	}
	send(http.MethodPost, "/v2/cache/blobs/uploads/?digest="+digestOf(blob), "application/octet-stream", blob)
	send(http.MethodPut, "/v2/cache/manifests/thing-"+key, "application/vnd.oci.image.manifest.v1+json", manifest)
}

// answer has the registry answer requests for blobs whose path ends so.
func answer(r *registrytest.Registry, ending string, status int, body string) {
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") || !strings.HasSuffix(req.URL.Path, ending) {
			return false
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	})
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
