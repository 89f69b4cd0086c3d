// Package inspect tells what an image is: for which platforms, of which layers,
// packages and etcd versions, how it starts, what is said about it, and which
// signatures it has. It reads layouts, archives and registries, and images that
// etcdimg did not build, of which it knows less.
//
// It must not know how images are built, and it checks no signature.
package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/registry"
)

// Source is a place that has an image. What Manifest and Blob give has the
// digest that was asked for.
type Source interface {
	// Manifest reads a manifest or an index.
	Manifest(ctx context.Context, digest v1.Hash) ([]byte, error)
	// Blob reads a configuration or a statement into memory.
	Blob(ctx context.Context, digest v1.Hash) ([]byte, error)
	// Layer opens a layer as it is stored, compressed and unverified.
	Layer(ctx context.Context, digest v1.Hash) (io.ReadCloser, error)
	// Referrers are the manifests whose subject is the digest.
	Referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error)
	// Companions are the digests of what cosign keeps beside a digest, by the
	// ending of its tag: sig, att, sbom.
	Companions(ctx context.Context, digest v1.Hash) (map[string]v1.Hash, error)
	Close() error
}

// Open finds an image: a directory with an OCI layout, with :TAG or @DIGEST
// behind where it has several images; a file with an archive of one; or else
// the name of an image in a registry.
func Open(ctx context.Context, reference string, client *registry.Client) (Source, v1.Descriptor, error) {
	if path, which, ok := local(reference); ok {
		return openLocal(path, which)
	}
	ref, err := client.ParseReference(reference)
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("%s is neither a directory, nor a file, nor the name of an image: %w", reference, err)
	}
	d, err := client.Get(ctx, ref)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	return &remoteSource{client, ref.Context()}, d.Descriptor, nil
}

// local splits a reference to something on disk. A name that is a path as a
// whole is nothing else.
func local(reference string) (path, which string, ok bool) {
	if _, err := os.Stat(reference); err == nil {
		return reference, "", true
	}
	for _, separator := range []string{"@", ":"} {
		i := strings.LastIndex(reference, separator)
		if separator == "@" {
			i = strings.Index(reference, "@sha256:")
		}
		if i < 0 {
			continue
		}
		if _, err := os.Stat(reference[:i]); err == nil {
			return reference[:i], reference[i+1:], true
		}
	}
	// What can only be a path is one that is missing.
	if strings.HasPrefix(reference, "/") || strings.HasPrefix(reference, ".") {
		return reference, "", true
	}
	return "", "", false
}

func openLocal(path, which string) (Source, v1.Descriptor, error) {
	open := image.OpenLayout
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		open = image.OpenArchive
	}
	l, err := open(path)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	d, err := l.Resolve(which)
	if err != nil {
		l.Close()
		return nil, v1.Descriptor{}, fmt.Errorf("%s: %w", path, err)
	}
	return layoutSource{l}, d, nil
}

// layoutSource is an OCI layout, in a directory or an archive.
type layoutSource struct{ *image.Layout }

func (s layoutSource) Manifest(_ context.Context, digest v1.Hash) ([]byte, error) {
	return s.Layout.Blob(digest)
}
func (s layoutSource) Blob(_ context.Context, digest v1.Hash) ([]byte, error) {
	return s.Layout.Blob(digest)
}
func (s layoutSource) Layer(_ context.Context, digest v1.Hash) (io.ReadCloser, error) {
	return s.Open(digest)
}
func (s layoutSource) Referrers(_ context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	all, err := s.Layout.Referrers(digest)
	var found []v1.Descriptor
	for _, r := range all {
		found = append(found, r.Descriptor)
	}
	return found, err
}
func (s layoutSource) Companions(_ context.Context, digest v1.Hash) (map[string]v1.Hash, error) {
	found := map[string]v1.Hash{}
	for ending, d := range s.Layout.Companions(digest) {
		found[ending] = d.Digest
	}
	return found, nil
}

// remoteSource is a repository of a registry.
type remoteSource struct {
	client *registry.Client
	repo   name.Repository
}

func (s *remoteSource) Manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	d, err := s.client.Get(ctx, s.repo.Digest(digest.String()))
	if err != nil {
		return nil, err
	}
	return d.Manifest, nil
}

// notFound is HTTP's status of what a registry does not have.
const notFound = 404

// maxBlob bounds what is read into memory.
const maxBlob = 64 << 20

func (s *remoteSource) Blob(ctx context.Context, digest v1.Hash) ([]byte, error) {
	r, err := s.Layer(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxBlob+1))
	switch got, _, hashErr := v1.SHA256(bytes.NewReader(b)); {
	case err != nil:
		return nil, fmt.Errorf("fetching %s: %w", digest, err)
	case len(b) > maxBlob:
		return nil, fmt.Errorf("blob %s is larger than %d bytes", digest, maxBlob)
	case hashErr != nil || got != digest:
		return nil, fmt.Errorf("the registry gave %s for the blob %s", got, digest)
	}
	return b, nil
}

func (s *remoteSource) Layer(ctx context.Context, digest v1.Hash) (io.ReadCloser, error) {
	l, err := remote.Layer(s.repo.Digest(digest.String()), s.client.Remote(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", digest, err)
	}
	r, err := l.Compressed()
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", digest, err)
	}
	return r, nil
}

func (s *remoteSource) Referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	return s.client.Referrers(ctx, s.repo.Digest(digest.String()))
}

func (s *remoteSource) Companions(ctx context.Context, digest v1.Hash) (map[string]v1.Hash, error) {
	found := map[string]v1.Hash{}
	for _, tag := range registry.CompanionTags(s.repo.Digest(digest.String())) {
		d, err := s.client.Get(ctx, tag)
		var refused *transport.Error
		switch {
		case errors.As(err, &refused) && refused.StatusCode == notFound:
		case err != nil:
			return nil, err
		default:
			_, ending, _ := strings.Cut(tag.TagStr(), ".")
			found[ending] = d.Digest
		}
	}
	return found, nil
}

func (s *remoteSource) Close() error { return nil }

// Statements are the referrers of a digest that are statements: one layer of
// the artifact's type.
func Statements(ctx context.Context, s Source, digest v1.Hash) ([]image.Statement, error) {
	all, err := s.Referrers(ctx, digest)
	if err != nil {
		return nil, err
	}
	var found []image.Statement
	for _, d := range all {
		raw, err := s.Manifest(ctx, d.Digest)
		if err != nil {
			return nil, err
		}
		statement, content, ok := image.ParseStatement(raw)
		if !ok || statement.Subject.Digest != digest {
			continue
		}
		if statement.Content, err = s.Blob(ctx, content.Digest); err != nil {
			return nil, fmt.Errorf("reading %s about %s: %w", statement.ArtifactType, digest, err)
		}
		found = append(found, statement)
	}
	return found, nil
}
