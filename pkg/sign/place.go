package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ErrNotThere says that a place has no such tag or digest.
var ErrNotThere = errors.New("not there")

// Place is where an image is, and where what is said about it goes.
type Place interface {
	// Name is the place's name for people and, in signatures, for machines:
	// registry.example/etcd.
	Name() string
	// Resolve returns the descriptor of a tag, or of a digest in words;
	// ErrNotThere if there is none.
	Resolve(ctx context.Context, reference string) (v1.Descriptor, error)
	// Blob opens what has a digest, manifests and configurations among it.
	Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// Referrers lists the manifests whose subject has the digest.
	Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error)
	// Put stores an image with what it consists of, and lets a tag name it; ""
	// is for no tag.
	Put(ctx context.Context, img v1.Image, tag string) error
}

// Limits of what is read into memory, in bytes.
const (
	maxManifest    = 4 << 20
	maxPayload     = 1 << 20
	maxAttestation = 64 << 20
)

// read returns the bytes of a descriptor, and an error unless they are as many
// and have the digest.
func read(ctx context.Context, p Place, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fail("size", d.Digest, fmt.Sprintf("at most %d bytes", limit), fmt.Sprintf("%d bytes", d.Size))
	}
	r, err := p.Blob(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.Digest, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	switch {
	case err != nil && int64(len(b)) < d.Size:
		return nil, fail("size", d.Digest, fmt.Sprintf("%d bytes", d.Size), fmt.Sprintf("%d bytes, then %v", len(b), err))
	case int64(len(b)) > d.Size:
		return nil, fail("size", d.Digest, fmt.Sprintf("%d bytes", d.Size), "more")
	case int64(len(b)) < d.Size:
		return nil, fail("size", d.Digest, fmt.Sprintf("%d bytes", d.Size), fmt.Sprintf("%d bytes", len(b)))
	}
	got, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if got != d.Digest {
		return nil, fail("digest", d.Digest, d.Digest.String(), got.String())
	}
	return b, nil
}

// readManifest reads an image manifest.
func readManifest(ctx context.Context, p Place, d v1.Descriptor) (v1.Manifest, error) {
	raw, err := read(ctx, p, d, maxManifest)
	if err != nil {
		return v1.Manifest{}, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return v1.Manifest{}, fail("manifest", d.Digest, "an image manifest", err.Error())
	}
	return m, nil
}

// Subjects lists a digest, and where it is an index, the images in it too. It
// follows no deeper than that.
func Subjects(ctx context.Context, p Place, root v1.Descriptor, recursive bool) ([]v1.Descriptor, error) {
	all := []v1.Descriptor{root}
	if !recursive || !root.MediaType.IsIndex() {
		return all, nil
	}
	raw, err := read(ctx, p, root, maxManifest)
	if err != nil {
		return nil, err
	}
	var m v1.IndexManifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fail("manifest", root.Digest, "an image index", err.Error())
	}
	return append(all, m.Manifests...), nil
}

// The tags under which cosign keeps what belongs to a digest.
func signatureTag(h v1.Hash) string   { return companion(h) + ".sig" }
func attestationTag(h v1.Hash) string { return companion(h) + ".att" }
func companion(h v1.Hash) string      { return strings.Replace(h.String(), ":", "-", 1) }

// Artifact types and media types of the forms.
const (
	artifactSignature   = "application/vnd.dev.cosign.artifact.sig.v1+json"
	artifactAttestation = "application/vnd.in-toto+json"
	artifactBundle      = "application/vnd.dev.sigstore.bundle.v0.3+json"

	mediaPayload  types.MediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	mediaEnvelope types.MediaType = "application/vnd.dsse.envelope.v1+json"
	mediaBundle   types.MediaType = artifactBundle
	mediaEmpty    types.MediaType = "application/vnd.oci.empty.v1+json"

	payloadInToto = "application/vnd.in-toto+json" // DSSE's payloadType
)

// Created reads when an image was made from its configuration, which says so
// for the newest input of a reproducible one. It is false for an index, and
// for an image that does not say.
func Created(ctx context.Context, p Place, d v1.Descriptor) (time.Time, bool, error) {
	if !d.MediaType.IsImage() {
		return time.Time{}, false, nil
	}
	m, err := readManifest(ctx, p, d)
	if err != nil {
		return time.Time{}, false, err
	}
	raw, err := read(ctx, p, m.Config, maxManifest)
	if err != nil {
		return time.Time{}, false, err
	}
	var config struct {
		Created *time.Time `json:"created"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return time.Time{}, false, fail("configuration", d.Digest, "an image configuration", err.Error())
	}
	if config.Created == nil {
		return time.Time{}, false, nil
	}
	return *config.Created, true, nil
}
