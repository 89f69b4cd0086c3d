package inspect_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/registry"
)

func client(t *testing.T) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Options{Insecure: registry.Loopback, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// certificate is one as Fulcio issues them.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := asn1.Marshal("https://issuer.example")
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
		EmailAddresses: []string{"someone@example.org"},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte("https://old.example")},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// artifact is a manifest with layers that carry annotations.
func artifact(t *testing.T, mediaType types.MediaType, layers ...map[string]string) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.oci.image.config.v1+json")
	for _, annotations := range layers {
		var err error
		img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer([]byte(annotations["content"]+"{}"), mediaType), Annotations: annotations})
		if err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// foreign is an index of another builder.
func foreign(t *testing.T) v1.ImageIndex {
	t.Helper()
	img, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "arm64"
	config.Config = v1.Config{User: "7", Cmd: []string{"/x"}, Volumes: map[string]struct{}{"/b": {}, "/a": {}}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	attestation, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}})
}

func inspected(t *testing.T, reference string) *inspect.Report {
	t.Helper()
	s, d, err := inspect.Open(t.Context(), reference, client(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := inspect.Inspect(t.Context(), s, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnImageOfAnotherBuilderInARegistry(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reference := strings.TrimPrefix(server.URL, "http://") + "/team/etcd:v1"
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	x := foreign(t)
	if err := remote.WriteIndex(ref, x); err != nil {
		t.Fatal(err)
	}
	digest, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := x.Size()
	if err != nil {
		t.Fatal(err)
	}

	der := certificate(t)
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	tag := func(ending string) name.Tag { return ref.Context().Tag("sha256-" + digest.Hex + ending) }
	write := func(ref name.Reference, img v1.Image) v1.Hash {
		if err := remote.Write(ref, img); err != nil {
			t.Fatal(err)
		}
		h, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	signatures := write(tag(".sig"), artifact(t, "application/vnd.dev.cosign.simplesigning.v1+json",
		map[string]string{"dev.cosignproject.cosign/signature": "abc"},
		map[string]string{"dev.cosignproject.cosign/signature": "def", "dev.sigstore.cosign/certificate": cert}))
	attestations := write(tag(".att"), artifact(t, "application/vnd.dsse.envelope.v1+json", map[string]string{"predicateType": "https://spdx.dev/Document"}))

	// A sigstore bundle as a referrer.
	var bundle bytes.Buffer
	err = json.NewEncoder(&bundle).Encode(map[string]any{"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": base64.StdEncoding.EncodeToString(der)}}})
	if err != nil {
		t.Fatal(err)
	}
	const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), bundleType)
	img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(bundle.Bytes(), bundleType)})
	if err != nil {
		t.Fatal(err)
	}
	img = mutate.Annotations(img, map[string]string{"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}).(v1.Image)
	img = mutate.Subject(img, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest, Size: size}).(v1.Image)
	bundled, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	write(ref.Context().Digest(bundled.String()), img)

	r := inspected(t, reference)
	if r.Digest != digest.String() || len(r.Images) != 1 || r.Made != nil || !r.IsIndex() {
		t.Fatalf("report %+v", r)
	}
	got := r.Images[0]
	if got.Platform != "linux/arm64" || got.User != "7" || !reflect.DeepEqual(got.Volumes, []string{"/a", "/b"}) || len(got.Layers) != 2 || got.Size() == 0 {
		t.Errorf("image %+v", got)
	}
	want := []inspect.Signature{
		{Subject: digest.String(), Digest: bundled.String(), Form: "bundle", PredicateType: "https://slsa.dev/provenance/v1", Identity: "someone@example.org", Issuer: "https://issuer.example"},
		{Subject: digest.String(), Digest: signatures.String(), Form: ".sig"},
		{Subject: digest.String(), Digest: signatures.String(), Form: ".sig", Identity: "someone@example.org", Issuer: "https://issuer.example"},
		{Subject: digest.String(), Digest: attestations.String(), Form: ".att", PredicateType: "https://spdx.dev/Document"},
	}
	if !reflect.DeepEqual(r.Signatures, want) {
		t.Errorf("signatures\n%+v\nwant\n%+v", r.Signatures, want)
	}
}

func TestALayoutOfAnotherTool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, empty.Index); err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{dir, dir + ":v1", dir + "@" + digest.String()} {
		r := inspected(t, reference)
		if r.Digest != digest.String() || len(r.Images) != 1 || r.IsIndex() || len(r.Signatures) != 0 || len(r.Statements) != 0 {
			t.Errorf("%s is %+v", reference, r)
		}
	}
	for _, reference := range []string{dir + ":v2", dir + "/missing", "/missing", "no such image!"} {
		if s, d, err := inspect.Open(t.Context(), reference, client(t)); err == nil {
			s.Close()
			t.Errorf("%s is %v", reference, d)
		}
	}
}
