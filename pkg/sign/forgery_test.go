package sign_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// tampered is a place where a test changes what is read. It stands for a
// registry, or a disk, that lies.
type tampered struct {
	sign.Place
	resolve func(reference string) (v1.Descriptor, bool)
	blob    func(d v1.Descriptor, b []byte) []byte
}

func (p tampered) Resolve(ctx context.Context, reference string) (v1.Descriptor, error) {
	if p.resolve != nil {
		if d, ok := p.resolve(reference); ok {
			return d, nil
		}
	}
	return p.Place.Resolve(ctx, reference)
}

func (p tampered) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, err := p.Place.Blob(ctx, d)
	if err != nil || p.blob == nil {
		return r, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(p.blob(d, b))), err
}

// store puts layers under one of cosign's tags, as a forger with the right to
// push does.
func (b *bench) store(tag string, layers ...mutate.Addendum) {
	b.t.Helper()
	img, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.place.Put(b.t.Context(), img, tag); err != nil {
		b.t.Fatal(err)
	}
}

// stored are the layers under one of cosign's tags.
func (b *bench) stored(tag string) []mutate.Addendum {
	b.t.Helper()
	d, err := b.place.Resolve(b.t.Context(), tag)
	if err != nil {
		b.t.Fatal(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(b.read(d), &m); err != nil {
		b.t.Fatal(err)
	}
	var all []mutate.Addendum
	for _, l := range m.Layers {
		all = append(all, mutate.Addendum{Layer: static.NewLayer(b.read(l), l.MediaType), Annotations: l.Annotations, MediaType: l.MediaType})
	}
	return all
}

func (b *bench) read(d v1.Descriptor) []byte {
	b.t.Helper()
	r, err := b.place.Blob(b.t.Context(), d)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func tagOf(d v1.Descriptor, suffix string) string {
	return strings.Replace(d.Digest.String(), ":", "-", 1) + suffix
}

// only is the one failure of the index, for people.
func (b *bench) only() string {
	b.t.Helper()
	var all []string
	for _, f := range b.verify()[0].Failures {
		all = append(all, f.Error())
	}
	return strings.Join(all, "\n")
}

func TestForgeriesAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		forge func(b *bench)
		want  string // in the failure; DIGEST is the index's, IMAGE that of its first image
	}{
		"another key": {
			func(b *bench) { _, b.trust = newKey(b.t, "other.pub") },
			"signature of DIGEST: expected one by the key other.pub (SHA256:",
		},
		"the signature of another digest": {
			func(b *bench) {
				images := b.subjects()
				b.store(tagOf(b.root, ".sig"), b.stored(tagOf(images[1], ".sig"))...)
			},
			"signed digest of DIGEST: expected DIGEST, found IMAGE, signed by cosign.pub",
		},
		"a payload that was changed": {
			func(b *bench) {
				l := b.stored(tagOf(b.root, ".sig"))[0]
				body := strings.Replace(b.uncompressed(l), "/etcd\"", "/evil\"", 1)
				l.Layer = static.NewLayer([]byte(body), l.MediaType)
				b.store(tagOf(b.root, ".sig"), l)
			},
			"signature of DIGEST: expected one by the key cosign.pub (SHA256:",
		},
		"a payload of another kind": {
			func(b *bench) {
				b.store(tagOf(b.root, ".sig"), b.sealed(`{"critical":{"type":"something else","image":{"docker-manifest-digest":"`+b.root.Digest.String()+`"}}}`))
			},
			`signed payload of DIGEST: expected cosign container image signature, found "something else"`,
		},
		"an attestation about another subject": {
			func(b *bench) {
				images := b.subjects()
				b.store(tagOf(b.root, ".att"), b.stored(tagOf(images[1], ".att"))...)
			},
			"subject of DIGEST: expected DIGEST, found IMAGE, in https://spdx.dev/Document by cosign.pub",
		},
		"a predicate of another type than is said": {
			func(b *bench) {
				l := b.stored(tagOf(b.root, ".att"))[0]
				l.Annotations["predicateType"] = "https://cyclonedx.org/bom"
				b.store(tagOf(b.root, ".att"), l)
			},
			"predicate type of DIGEST: expected https://cyclonedx.org/bom, found https://spdx.dev/Document",
		},
		"an attestation whose payload was changed": {
			func(b *bench) {
				l := b.stored(tagOf(b.root, ".att"))[0]
				var env map[string]any
				if err := json.Unmarshal([]byte(b.uncompressed(l)), &env); err != nil {
					b.t.Fatal(err)
				}
				body, _ := base64.StdEncoding.DecodeString(env["payload"].(string))
				env["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(body, []byte("SPDX-2.3"), []byte("SPDX-2.2"), 1))
				raw, _ := json.Marshal(env)
				l.Layer = static.NewLayer(raw, l.MediaType)
				b.store(tagOf(b.root, ".att"), l)
			},
			"",
		},
		"a signature that was taken away": {
			func(b *bench) { b.store(tagOf(b.root, ".sig")) },
			"signature of DIGEST: expected one by the key cosign.pub (SHA256:",
		},
		"a truncated blob": {
			func(b *bench) {
				b.place = tampered{Place: b.place, blob: func(d v1.Descriptor, raw []byte) []byte {
					if d.MediaType == "application/vnd.dev.cosign.simplesigning.v1+json" {
						return raw[:len(raw)-7]
					}
					return raw
				}}
			},
			"bytes, found ",
		},
		"a longer blob": {
			func(b *bench) {
				b.place = tampered{Place: b.place, blob: func(d v1.Descriptor, raw []byte) []byte {
					if d.MediaType == "application/vnd.dsse.envelope.v1+json" {
						return append(raw, "  "...)
					}
					return raw
				}}
			},
			"bytes, found more",
		},
		"other bytes of the same length": {
			func(b *bench) {
				b.place = tampered{Place: b.place, blob: func(d v1.Descriptor, raw []byte) []byte {
					if d.MediaType == "application/vnd.dev.cosign.simplesigning.v1+json" {
						raw[3] ^= 1
					}
					return raw
				}}
			},
			"digest of sha256:",
		},
		"an index of other bytes": {
			func(b *bench) {
				b.place = tampered{Place: b.place, blob: func(d v1.Descriptor, raw []byte) []byte {
					if d.Digest == b.root.Digest {
						return bytes.Replace(raw, []byte("2"), []byte("3"), 1)
					}
					return raw
				}}
				b.onlyRoot = true
			},
			"digest of DIGEST: expected DIGEST, found sha256:",
		},
		"an oversized signature": {
			func(b *bench) {
				l := b.stored(tagOf(b.root, ".sig"))[0]
				l.Layer = static.NewLayer(make([]byte, 2<<20), l.MediaType)
				b.store(tagOf(b.root, ".sig"), l)
			},
			"expected at most 1048576 bytes, found 2097152 bytes",
		},
		"an envelope around something else": {
			func(b *bench) {
				b.store(tagOf(b.root, ".att"), mutate.Addendum{
					Layer:     static.NewLayer([]byte(`{"payloadType":"text/plain","payload":"","signatures":[{"sig":"AA=="}]}`), "application/vnd.dsse.envelope.v1+json"),
					MediaType: "application/vnd.dsse.envelope.v1+json",
				})
			},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			places(t, func(t *testing.T, b *bench) {
				b.sign(sign.Tags, sbom)
				images := b.subjects()
				tt.forge(b)
				got := b.only()
				want := strings.ReplaceAll(strings.ReplaceAll(tt.want, "DIGEST", b.root.Digest.String()), "IMAGE", images[1].Digest.String())
				if tt.want == "" {
					// It does not count, which is no failure of its own: nothing
					// is attested then.
					if c := b.verify()[0]; got != "" || len(c.Attestations) != 0 || len(c.Others) != 1 {
						t.Errorf("found %q, %+v, %v", got, c.Attestations, c.Others)
					}
					return
				}
				if !strings.Contains(got, want) {
					t.Errorf("found %q\nwant  %q", got, want)
				}
			})
		})
	}
}

func (b *bench) uncompressed(l mutate.Addendum) string {
	b.t.Helper()
	r, err := l.Layer.Compressed()
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(all)
}

// sealed is a payload that the bench's key really signed.
func (b *bench) sealed(body string) mutate.Addendum {
	b.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.t.Fatal(err)
	}
	sum := crypto.SHA256.New()
	sum.Write([]byte(body))
	raw, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum.Sum(nil))
	if err != nil {
		b.t.Fatal(err)
	}
	_, public := pemOf(b.t, key)
	k, err := sign.LoadPublicKey("rsa.pub", public)
	if err != nil {
		b.t.Fatal(err)
	}
	b.trust.Keys = append(b.trust.Keys, k)
	return mutate.Addendum{
		Layer:       static.NewLayer([]byte(body), "application/vnd.dev.cosign.simplesigning.v1+json"),
		MediaType:   "application/vnd.dev.cosign.simplesigning.v1+json",
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(raw)},
	}
}

// A referrer that names another subject than the one under which it is listed
// is not taken.
func TestListedReferrersMustReferToTheSubject(t *testing.T) {
	b := inRegistry(t, ggcr.WithReferrersSupport(true))
	images := b.subjects()
	if _, err := b.signer.Sign(t.Context(), b.place, images[1], sign.Bundles); err != nil {
		t.Fatal(err)
	}
	// The registry lists the image's referrers for the index.
	listed := fmt.Sprintf("/v2/etcd/referrers/%s", b.root.Digest)
	b.server.Fail(func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if r.URL.Path == listed {
			http.Redirect(w, r, strings.Replace(listed, b.root.Digest.String(), images[1].Digest.String(), 1), http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	if got := b.only(); !strings.Contains(got, "found no signature") {
		t.Errorf("found %q", got)
	}
}

// A tag that moves while an image is verified does not matter: what is
// verified is the digest that it named first.
func TestATagMovesBetweenCheckAndUse(t *testing.T) {
	b := inRegistry(t)
	b.sign(sign.Tags)
	if err := b.place.Put(t.Context(), emptyImage(t), "v1"); err != nil {
		t.Fatal(err)
	}
	n := 0
	moving := tampered{Place: b.place, resolve: func(reference string) (v1.Descriptor, bool) {
		if reference != "v1" {
			return v1.Descriptor{}, false
		}
		n++
		return b.root, n == 1
	}}
	root, err := moving.Resolve(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := sign.Subjects(t.Context(), moving, root, true)
	if err != nil {
		t.Fatal(err)
	}
	found, err := sign.Verify(t.Context(), moving, subjects, b.trust)
	if err != nil {
		t.Fatal(err)
	}
	if n != 1 {
		t.Errorf("the tag was looked up %d times", n)
	}
	for _, c := range found {
		if len(c.Failures) > 0 {
			t.Errorf("%s: %v", c.Subject.Digest, c.Failures)
		}
	}
}

func emptyImage(t *testing.T) v1.Image {
	t.Helper()
	return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
}
