package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/registry"
)

// Repository is a repository of a registry, as a Place.
func Repository(c *registry.Client, repo name.Repository) Place { return repository{c, repo} }

type repository struct {
	client *registry.Client
	repo   name.Repository
}

func (r repository) Name() string { return r.repo.Name() }

func (r repository) Resolve(ctx context.Context, reference string) (v1.Descriptor, error) {
	var ref name.Reference = r.repo.Tag(reference)
	if h, err := v1.NewHash(reference); err == nil {
		ref = r.repo.Digest(h.String())
	}
	d, err := r.client.Get(ctx, ref)
	if errors.Is(err, registry.ErrNotFound) {
		return v1.Descriptor{}, fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	return d.Descriptor, nil
}

func (r repository) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	ref := r.repo.Digest(d.Digest.String())
	if d.MediaType.IsImage() || d.MediaType.IsIndex() {
		m, err := r.client.Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(m.Manifest)), nil
	}
	return r.client.Blob(ctx, ref)
}

func (r repository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	return r.client.Referrers(ctx, r.repo.Digest(subject.String()))
}

func (r repository) Put(ctx context.Context, img v1.Image, tag string) error {
	digest, err := r.client.Push(ctx, r.repo, img)
	if err != nil || tag == "" {
		return err
	}
	return r.client.Tag(ctx, digest, tag)
}
