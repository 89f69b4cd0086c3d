package registry_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

func client(t *testing.T, change func(*registry.Options)) *registry.Client {
	t.Helper()
	o := registry.Options{Insecure: registry.Loopback, Backoff: time.Millisecond, Keychain: authn.NewMultiKeychain()}
	if change != nil {
		change(&o)
	}
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func repository(t *testing.T, c *registry.Client, s string) name.Repository {
	t.Helper()
	r, err := c.ParseRepository(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func index(t *testing.T) v1.ImageIndex {
	t.Helper()
	x, err := random.Index(4096, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func digestOf(t *testing.T, x interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// referrer is a small artifact about a digest.
func referrer(t *testing.T, subject v1.Descriptor, text string) v1.Image {
	t.Helper()
	base := mutate.ConfigMediaType(mutate.MediaType(emptyImage(t), types.OCIManifestSchema1), "application/x.test")
	img, err := mutate.AppendLayers(base, static.NewLayer([]byte(text), "text/plain"))
	if err != nil {
		t.Fatal(err)
	}
	return mutate.Subject(img, subject).(v1.Image)
}

func emptyImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPushedOnceNothingIsSentAgain(t *testing.T) {
	r := registrytest.New(t)
	c := client(t, nil)
	repo, x := repository(t, c, r.Host+"/etcd"), index(t)
	digest, err := c.Push(t.Context(), repo, x)
	if err != nil {
		t.Fatal(err)
	}
	if digest.DigestStr() != digestOf(t, x).String() {
		t.Errorf("pushed %s, not %s", digest, digestOf(t, x))
	}
	if puts := r.Requests("PUT /v2/etcd/manifests/"); len(puts) != 4 || !strings.HasSuffix(puts[3], digest.DigestStr()) {
		t.Errorf("manifests were put as %q: want three images, then the index, by digest", puts)
	}
	if err := c.Tag(t.Context(), digest, "v1"); err != nil {
		t.Fatal(err)
	}
	got, err := c.Resolve(t.Context(), repo.Tag("v1"))
	if err != nil || got.DigestStr() != digest.DigestStr() {
		t.Errorf("v1 names %s, %v", got, err)
	}

	r.Fail(nil)
	if _, err := client(t, nil).Push(t.Context(), repo, x); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"POST ", "PATCH ", "PUT "} {
		if sent := r.Requests(method); len(sent) > 0 {
			t.Errorf("pushing again sent %q", sent)
		}
	}
}

func TestInterruptedPushGoesOnWhereItStopped(t *testing.T) {
	r := registrytest.New(t)
	c := client(t, func(o *registry.Options) { o.Attempts, o.Jobs = 1, 1 })
	repo, x := repository(t, c, r.Host+"/etcd"), index(t)
	var blobs atomic.Int32
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if req.Method == http.MethodPatch && blobs.Add(1) > 4 {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	if _, err := c.Push(t.Context(), repo, x); err == nil {
		t.Fatal("the push did not fail")
	}
	if puts := r.Requests("PUT /v2/etcd/manifests/" + digestOf(t, x).String()); len(puts) > 0 {
		t.Errorf("the index was put although blobs are missing: %q", puts)
	}
	r.Fail(nil)
	if _, err := client(t, nil).Push(t.Context(), repo, x); err != nil {
		t.Fatal(err)
	}
	// 3 images of 2 layers and a configuration: 9 blobs, 4 of them there.
	if n := len(r.Requests("PATCH ")); n != 5 {
		t.Errorf("%d blobs were sent the second time, want the 5 that were missing", n)
	}
}

func TestBlobsAreTakenFromAnotherRepository(t *testing.T) {
	r := registrytest.New(t)
	c := client(t, nil)
	x := index(t)
	first := repository(t, c, r.Host+"/one")
	if _, err := c.Push(t.Context(), first, x); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if req.Method == http.MethodHead && strings.HasPrefix(req.URL.Path, "/v2/two/blobs/") {
			w.WriteHeader(http.StatusNotFound) // this registry has one store for all repositories
			return true
		}
		if req.Method == http.MethodPost && req.URL.Query().Get("from") == "one" && req.URL.Query().Get("mount") != "" {
			asked.Add(1)
		}
		return false
	})
	if _, err := c.Push(t.Context(), repository(t, c, r.Host+"/two"), x, first); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 6 {
		t.Errorf("%d layers were asked to be mounted, want 6", asked.Load())
	}
}

// Faults that pass: the push succeeds in spite of them.
func TestPushOutlivesFaults(t *testing.T) {
	answer := func(code int, header ...string) registrytest.Fault {
		return func(w http.ResponseWriter, req *http.Request, n int) bool {
			if n > 2 || req.URL.Path == "/v2/" {
				return false
			}
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	cut := func(w http.ResponseWriter, req *http.Request, n int) bool {
		if req.Method != http.MethodPatch && req.Method != http.MethodPut || n > 1 {
			return false
		}
		_, _ = io.CopyN(io.Discard, req.Body, 512)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return true
	}
	for name, fault := range map[string]registrytest.Fault{
		"500":               answer(http.StatusInternalServerError),
		"502":               answer(http.StatusBadGateway),
		"503 with a pause":  answer(http.StatusServiceUnavailable, "Retry-After", "0"),
		"429":               answer(http.StatusTooManyRequests),
		"429 with a pause":  answer(http.StatusTooManyRequests, "Retry-After", "0"),
		"429 until a date":  answer(http.StatusTooManyRequests, "Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"),
		"cut in mid-upload": cut,
		"an upload is forgotten": func(w http.ResponseWriter, req *http.Request, n int) bool {
			if req.Method != http.MethodPatch || n > 1 {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`)
			return true
		},
		"slow": func(_ http.ResponseWriter, req *http.Request, _ int) bool {
			if req.Method == http.MethodPatch {
				time.Sleep(20 * time.Millisecond)
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t)
			c := client(t, nil)
			repo, x := repository(t, c, r.Host+"/etcd"), index(t)
			r.Fail(fault)
			digest, err := c.Push(t.Context(), repo, x)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Tag(t.Context(), digest, "v1"); err != nil {
				t.Fatal(err)
			}
			r.Fail(nil)
			got, err := client(t, nil).Resolve(t.Context(), repo.Tag("v1"))
			if err != nil || got.DigestStr() != digest.DigestStr() {
				t.Errorf("v1 names %v, %v", got, err)
			}
		})
	}
}

func TestLongPausesAreNotWaitedFor(t *testing.T) {
	r := registrytest.New(t)
	c := client(t, func(o *registry.Options) { o.MaxWait, o.Attempts = time.Second, 2 })
	r.Fail(func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	_, err := c.Push(t.Context(), repository(t, c, r.Host+"/etcd"), index(t))
	if err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("got %v", err)
	}
}

// A token that expires while a push is under way is asked for again.
func TestTokensAreRenewed(t *testing.T) {
	r := registrytest.New(t)
	var token, used atomic.Int32
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if req.URL.Path == "/token" {
			if user, password, _ := req.BasicAuth(); user != "me" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			used.Store(0)
			_, _ = io.WriteString(w, `{"token":"t`+string(rune('0'+token.Add(1)))+`"}`)
			return true
		}
		// Each token is good for so many requests.
		if req.Header.Get("Authorization") != "Bearer t"+string(rune('0'+token.Load())) || token.Load() < 3 && used.Add(1) > 10 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.Server.URL+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	keys := keychain{Username: "me", Password: "secret"}
	c := client(t, func(o *registry.Options) { o.Keychain = keys; o.Jobs = 1 })
	repo, x := repository(t, c, r.Host+"/etcd"), index(t)
	if _, err := c.Push(t.Context(), repo, x); err != nil {
		t.Fatal(err)
	}
	if token.Load() < 2 {
		t.Error("no token was renewed: the test shows nothing")
	}

	wrong := client(t, func(o *registry.Options) { o.Keychain = keychain{Username: "me", Password: "wrong"} })
	_, err := wrong.Push(t.Context(), repo, x)
	if err == nil || !strings.Contains(err.Error(), "sign in with docker login") {
		t.Errorf("with a wrong password: %v", err)
	}
}

type keychain authn.AuthConfig

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig(k)), nil
}

func TestTheUsualKeychainIsAsked(t *testing.T) {
	r := registrytest.New(t)
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if user, password, _ := req.BasicAuth(); user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	dir := t.TempDir()
	config := `{"auths":{"` + r.Host + `":{"auth":"bWU6c2VjcmV0"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	c := client(t, func(o *registry.Options) { o.Keychain = nil })
	if _, err := c.Push(t.Context(), repository(t, c, r.Host+"/etcd"), index(t)); err != nil {
		t.Fatal(err)
	}
}

// A credential helper is a program that docker's configuration names; it is
// asked for the password of this registry, and of no other.
func TestCredentialHelpersAreAsked(t *testing.T) {
	r := registrytest.New(t)
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if user, password, _ := req.BasicAuth(); user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	dir := t.TempDir()
	helper := "#!/bin/sh\nread -r host\necho \"$1 $host\" >> '" + dir + "/asked'\n" +
		`printf '{"ServerURL":"%s","Username":"me","Secret":"secret"}' "$host"` + "\n"
	for name, content := range map[string]string{
		"docker-credential-etcdimg-test": helper,
		"config.json":                    `{"credHelpers":{"` + r.Host + `":"etcdimg-test"}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	c := client(t, func(o *registry.Options) { o.Keychain = nil })
	if _, err := c.Push(t.Context(), repository(t, c, r.Host+"/etcd"), index(t)); err != nil {
		t.Fatal(err)
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(asked)) {
		if line != "get "+r.Host+"\n" {
			t.Errorf("the helper was asked for %q", line)
		}
	}
}

func TestPlainHTTPAndCertificates(t *testing.T) {
	plain, secure := registrytest.New(t), registrytest.NewTLS(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Server.Certificate().Raw})
	if err := os.WriteFile(ca, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		host     string
		ca       string
		insecure registry.Insecure
		want     string // in the error; "" for none
	}{
		{"plain", plain.Host, "", registry.Never, "plain HTTP is not allowed with " + plain.Host + "; --insecure allows it on this machine"},
		{"plain, allowed", plain.Host, "", registry.Loopback, ""},
		{"plain, forced", plain.Host, "", registry.Anywhere, ""},
		{"unknown certificate", secure.Host, "", registry.Never, "certificate"},
		{"unknown certificate, allowed", secure.Host, "", registry.Loopback, ""},
		{"its authority is given", secure.Host, ca, registry.Never, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, func(o *registry.Options) { o.CAFile, o.Insecure, o.Attempts = tt.ca, tt.insecure, 2 })
			_, err := c.Push(t.Context(), repository(t, c, tt.host+"/etcd"), index(t))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// --insecure is for this machine: a redirect does not take it elsewhere.
func TestPlainHTTPStaysOnThisMachine(t *testing.T) {
	r := registrytest.New(t)
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/manifests/") {
			return false
		}
		http.Redirect(w, req, "http://registry.example/v2/etcd/manifests/v1", http.StatusTemporaryRedirect)
		return true
	})
	c := client(t, func(o *registry.Options) { o.Attempts = 1 })
	_, err := c.Get(t.Context(), repository(t, c, r.Host+"/etcd").Tag("v1"))
	if !errors.Is(err, registry.ErrPlain) {
		t.Errorf("got %v, want %v", err, registry.ErrPlain)
	}
}

func TestOtherBytesThanTheDigestAreRefused(t *testing.T) {
	r := registrytest.New(t)
	c := client(t, nil)
	repo, x := repository(t, c, r.Host+"/etcd"), index(t)
	digest, err := c.Push(t.Context(), repo, x)
	if err != nil {
		t.Fatal(err)
	}
	r.Fail(func(w http.ResponseWriter, req *http.Request, _ int) bool {
		if req.Method != http.MethodGet || req.URL.Path == "/v2/" {
			return false
		}
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[]}`)
		return true
	})
	if _, err := c.Get(t.Context(), digest); err == nil || !strings.Contains(err.Error(), digest.DigestStr()) {
		t.Errorf("got %v", err)
	}
}

func TestReferrersAreListedAndCopied(t *testing.T) {
	for name, option := range map[string]ggcr.Option{
		"with the API":    ggcr.WithReferrersSupport(true),
		"without the API": ggcr.WithReferrersSupport(false),
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := registrytest.New(t, option), registrytest.New(t)
			c := client(t, nil)
			repo, x := repository(t, c, src.Host+"/etcd"), index(t)
			digest, err := c.Push(t.Context(), repo, x)
			if err != nil {
				t.Fatal(err)
			}
			m, err := x.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			about := referrer(t, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digestOf(t, x), Size: 1}, "about the index")
			child := referrer(t, m.Manifests[1], "about an image")
			again := referrer(t, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digestOf(t, about), Size: 1}, "about what is about the index")
			for _, img := range []v1.Image{about, child, again} {
				if _, err := c.Push(t.Context(), repo, img); err != nil {
					t.Fatal(err)
				}
			}
			signature, err := c.Push(t.Context(), repo, emptyImage(t))
			if err != nil {
				t.Fatal(err)
			}
			companion := registry.CompanionTags(digest)[0].TagStr()
			if err := c.Tag(t.Context(), signature, companion); err != nil {
				t.Fatal(err)
			}

			to := repository(t, c, dst.Host+"/mirror/etcd")
			copied, err := c.Copy(t.Context(), digest, to)
			if err != nil {
				t.Fatal(err)
			}
			for subject, want := range map[v1.Hash]v1.Hash{
				digestOf(t, x):        digestOf(t, about),
				m.Manifests[1].Digest: digestOf(t, child),
				digestOf(t, about):    digestOf(t, again),
			} {
				got, err := c.Referrers(t.Context(), to.Digest(subject.String()))
				if err != nil || len(got) != 1 || got[0].Digest != want {
					t.Errorf("referrers of %s: %v, %v; want %s", subject, got, err, want)
				}
			}
			if _, err := c.Get(t.Context(), copied); err != nil {
				t.Error(err)
			}
			if got, err := c.Resolve(t.Context(), to.Tag(companion)); err != nil || got.DigestStr() != signature.DigestStr() {
				t.Errorf("%s names %v, %v", companion, got, err)
			}
		})
	}
}
