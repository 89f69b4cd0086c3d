package sign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// bench is an index in a place, and a key.
type bench struct {
	t      *testing.T
	place  sign.Place
	index  v1.ImageIndex
	root   v1.Descriptor
	signer *sign.Signer
	trust  sign.Trust
	server *registrytest.Registry // of benches in a registry
	dir    string                 // of benches in a layout

	onlyRoot bool // verify the index, and do not look into it
}

func inRegistry(t *testing.T, options ...ggcr.Option) *bench {
	t.Helper()
	b := &bench{t: t, server: registrytest.New(t, options...)}
	c, err := registry.New(registry.Options{Insecure: registry.Loopback, Backoff: time.Millisecond, Attempts: 2, Keychain: authn.NewMultiKeychain()})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := c.ParseRepository(b.server.Host + "/etcd")
	if err != nil {
		t.Fatal(err)
	}
	b.fill()
	if _, err := c.Push(t.Context(), repo, b.index); err != nil {
		t.Fatal(err)
	}
	b.place = sign.Repository(c, repo)
	return b
}

func inLayout(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: filepath.Join(t.TempDir(), "layout")}
	b.fill()
	p, err := layout.Write(b.dir, mutate.AppendManifests(emptyIndex(t), mutate.IndexAddendum{Add: b.index}))
	if err != nil {
		t.Fatal(err)
	}
	_ = p
	if b.place, err = sign.Layout(b.dir, "registry.example/etcd"); err != nil {
		t.Fatal(err)
	}
	return b
}

func emptyIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	x, err := random.Index(0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.IndexMediaType(x, types.OCIImageIndex)
}

func (b *bench) fill() {
	b.t.Helper()
	x, err := random.Index(256, 1, 2)
	if err != nil {
		b.t.Fatal(err)
	}
	b.index = mutate.IndexMediaType(x, types.OCIImageIndex)
	b.root = describe(b.t, b.index)
	b.signer, b.trust = newKey(b.t, "cosign.pub")
}

func describe(t *testing.T, x v1.ImageIndex) v1.Descriptor {
	t.Helper()
	h, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	n, err := x.Size()
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: types.OCIImageIndex, Digest: h, Size: n}
}

func newKey(t *testing.T, name string) (*sign.Signer, sign.Trust) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, public := pemOf(t, key)
	s, err := sign.LoadKey(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := sign.LoadPublicKey(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return s, sign.Trust{Keys: []sign.PublicKey{k}}
}

// pemOf is a key pair in PKCS #8 and SubjectPublicKeyInfo form.
func pemOf(t *testing.T, key crypto.Signer) (private, public []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})
}

var sbom = sign.Statement{PredicateType: "https://spdx.dev/Document", Predicate: json.RawMessage(`{"spdxVersion":"SPDX-2.3"}`)}

// sign signs and attests the index and its images.
func (b *bench) sign(f sign.Format, statements ...sign.Statement) []sign.Made {
	b.t.Helper()
	var all []sign.Made
	for _, d := range b.subjects() {
		made, err := b.signer.Sign(b.t.Context(), b.place, d, f)
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, made)
		if len(statements) > 0 {
			more, err := b.signer.Attest(b.t.Context(), b.place, d, statements, f)
			if err != nil {
				b.t.Fatal(err)
			}
			all = append(all, more...)
		}
	}
	return all
}

func (b *bench) subjects() []v1.Descriptor {
	b.t.Helper()
	all, err := sign.Subjects(b.t.Context(), b.place, b.root, !b.onlyRoot)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) verify() []sign.Checked {
	b.t.Helper()
	all, err := sign.Verify(b.t.Context(), b.place, b.subjects(), b.trust)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// places are both kinds of places, registries with and without the list of
// referrers.
func places(t *testing.T, run func(t *testing.T, b *bench)) {
	for name, make := range map[string]func(*testing.T) *bench{
		"registry":                   func(t *testing.T) *bench { return inRegistry(t) },
		"registry without referrers": func(t *testing.T) *bench { return inRegistry(t, ggcr.WithReferrersSupport(false)) },
		"layout":                     inLayout,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t, make(t)) })
	}
}

func TestSignedIsVerified(t *testing.T) {
	for _, f := range sign.Formats() {
		t.Run(string(f), func(t *testing.T) {
			places(t, func(t *testing.T, b *bench) {
				for _, m := range b.sign(f, sbom) {
					if m.Kept {
						t.Errorf("%+v was there already", m)
					}
				}
				for _, c := range b.verify() {
					if len(c.Failures) > 0 || len(c.Others) > 0 {
						t.Errorf("%v %v", c.Failures, c.Others)
					}
					if len(c.Signatures) != 1 || c.Signatures[0] != (sign.Signature{By: "cosign.pub", Format: f}) {
						t.Errorf("signatures %+v", c.Signatures)
					}
					if len(c.Attestations) != 1 || c.Attestations[0].PredicateType != sbom.PredicateType || string(c.Attestations[0].Predicate) != string(sbom.Predicate) {
						t.Errorf("attestations %+v", c.Attestations)
					}
				}
				// Signing again writes nothing.
				for _, m := range b.sign(f, sbom) {
					if !m.Kept {
						t.Errorf("%+v was made again", m)
					}
				}
			})
		})
	}
}

func TestUnsignedIsNotVerified(t *testing.T) {
	places(t, func(t *testing.T, b *bench) {
		for _, c := range b.verify() {
			if len(c.Failures) != 1 || c.Failures[0].Check != "signature" || c.Failures[0].Found != "no signature" {
				t.Errorf("found %v", c.Failures)
			}
		}
	})
}

func TestAnotherStatementOfATypeReplacesTheFirst(t *testing.T) {
	places(t, func(t *testing.T, b *bench) {
		b.sign(sign.Tags, sbom, sign.Statement{PredicateType: "https://openvex.dev/ns", Predicate: json.RawMessage(`{}`)})
		newer := sbom
		newer.Predicate = json.RawMessage(`{"spdxVersion":"SPDX-2.3","name":"newer"}`)
		b.sign(sign.Tags, newer)
		for _, c := range b.verify() {
			if len(c.Attestations) != 2 || string(c.Attestations[1].Predicate) != string(newer.Predicate) {
				t.Errorf("attestations %+v", c.Attestations)
			}
		}
	})
}

func TestErrorsAreNoFailures(t *testing.T) {
	b := inRegistry(t)
	if _, err := sign.Verify(t.Context(), b.place, nil, sign.Trust{}); err == nil {
		t.Error("nobody's signature counts, and that is fine")
	}
	_, err := b.place.Resolve(t.Context(), "absent")
	if !errors.Is(err, sign.ErrNotThere) {
		t.Errorf("an absent tag: %v", err)
	}
}
