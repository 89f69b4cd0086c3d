package registry

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Copy brings what a digest names into another repository, with everything
// that refers to it or to a part of it: referrers, and the tags under which
// cosign keeps signatures and attestations. No other tag moves.
func (c *Client) Copy(ctx context.Context, src name.Digest, dst name.Repository) (name.Digest, error) {
	d, err := c.Get(ctx, src)
	if err != nil {
		return name.Digest{}, err
	}
	what, err := taggable(d)
	if err != nil {
		return name.Digest{}, err
	}
	copied, err := c.Push(ctx, dst, what, src.Context())
	if err != nil {
		return name.Digest{}, err
	}
	seen := map[string]bool{}
	if err := c.copyCompanions(ctx, src, dst, seen); err != nil {
		return name.Digest{}, err
	}
	if x, ok := what.(v1.ImageIndex); ok {
		m, err := x.IndexManifest()
		if err != nil {
			return name.Digest{}, err
		}
		for _, child := range m.Manifests {
			if err := c.copyCompanions(ctx, src.Context().Digest(child.Digest.String()), dst, seen); err != nil {
				return name.Digest{}, err
			}
		}
	}
	return copied, nil
}

// copyCompanions copies what refers to a digest, and what refers to that.
func (c *Client) copyCompanions(ctx context.Context, src name.Digest, dst name.Repository, seen map[string]bool) error {
	if seen[src.DigestStr()] {
		return nil
	}
	seen[src.DigestStr()] = true
	referrers, err := c.Referrers(ctx, src)
	if err != nil {
		return err
	}
	for _, r := range referrers {
		ref := src.Context().Digest(r.Digest.String())
		if err := c.copyOne(ctx, ref, dst, ""); err != nil {
			return err
		}
		if err := c.copyCompanions(ctx, ref, dst, seen); err != nil {
			return err
		}
	}
	for _, tag := range CompanionTags(src) {
		err := c.copyOne(ctx, tag, dst, tag.TagStr())
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) copyOne(ctx context.Context, ref name.Reference, dst name.Repository, tag string) error {
	d, err := c.Get(ctx, ref)
	if err != nil {
		return err
	}
	what, err := taggable(d)
	if err != nil {
		return err
	}
	pushed, err := c.Push(ctx, dst, what, ref.Context())
	if err != nil || tag == "" {
		return err
	}
	return c.Tag(ctx, pushed, tag)
}

func taggable(d *remote.Descriptor) (remote.Taggable, error) {
	if d.MediaType.IsIndex() {
		return d.ImageIndex()
	}
	return d.Image()
}
