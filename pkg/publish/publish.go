// Package publish brings finished images to where others find them, in an
// order that no crash can turn into a tag on half an image: blobs and
// manifests by digest, then what is said about them, tags last.
//
// It must not know how images are built or how registries are spoken to.
package publish

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Registry is what pushing needs of registries.
type Registry interface {
	// Push puts an image or index into a repository, by digest. Blobs may be
	// taken from other repositories of the same registry.
	Push(ctx context.Context, repo name.Repository, what remote.Taggable, from ...name.Repository) (name.Digest, error)
	// Tag moves a tag to a digest of its repository.
	Tag(ctx context.Context, digest name.Digest, tag string) error
}

// Signer signs what lies in a repository.
type Signer interface {
	// Sign signs and attests the digests, each with what is said about it.
	Sign(ctx context.Context, repo name.Repository, digests []v1.Descriptor) ([]sign.Made, error)
}

// Target is a repository, and the tags that are to name the image there.
type Target struct {
	Repository name.Repository
	Tags       []string
}

// Extra is a small image that belongs to a published one: a referrer, or
// cosign's signatures with their tag.
type Extra struct {
	Subject v1.Hash
	Image   v1.Image
	Tag     string // "" for referrers
}

// Request says what to publish.
type Request struct {
	What      remote.Taggable // v1.ImageIndex or v1.Image
	Extras    []Extra
	Targets   []Target
	ByDigest  bool   // of an index, push the images alone: no index, no tag
	Signer    Signer // nil for none
	SignFirst bool   // sign before tags move

	From []name.Repository // that may have blobs already, which a registry takes from there
}

// Done is what was published in one repository.
type Done struct {
	Repository string      `json:"repository"`
	Digest     string      `json:"digest,omitempty"` // what the tags name; empty when images were pushed alone
	Images     []string    `json:"images"`           // digests
	Tags       []string    `json:"tags"`             // that have moved
	Signed     []sign.Made `json:"signed,omitempty"`
}

// Publish does what a request says. When it fails, every tag names what it
// named before, or the whole new image.
func Publish(ctx context.Context, r Registry, req Request) ([]Done, error) {
	whole, err := parts(req)
	if err != nil {
		return nil, err
	}
	done := make([]Done, len(req.Targets))
	from := slices.Clone(req.From)
	for i, t := range req.Targets {
		if done[i], err = push(ctx, r, req, t, whole, from); err != nil {
			return nil, err
		}
		from = append(from, t.Repository)
	}
	if req.SignFirst {
		if err := signAll(ctx, req, whole, done); err != nil {
			return nil, err
		}
	}
	// Tags of all repositories move when all of them hold everything.
	for i, t := range req.Targets {
		if req.ByDigest {
			break
		}
		for _, tag := range t.Tags {
			digest := t.Repository.Digest(done[i].Digest)
			if err := r.Tag(ctx, digest, tag); err != nil {
				return done, fmt.Errorf("%w; the image itself is there as %s", err, digest)
			}
			done[i].Tags = append(done[i].Tags, tag)
		}
	}
	if !req.SignFirst {
		if err := signAll(ctx, req, whole, done); err != nil {
			return done, fmt.Errorf("%w; the image is there and has its tags: etcdimg sign can go on", err)
		}
	}
	return done, nil
}

// part is a digest that is published, and what it names.
type part struct {
	descriptor v1.Descriptor
	what       remote.Taggable
	image      bool
}

// parts lists the index, if it is to be pushed, and its images.
func parts(req Request) ([]part, error) {
	root, err := describe(req.What)
	if err != nil {
		return nil, err
	}
	x, isIndex := req.What.(v1.ImageIndex)
	if !isIndex {
		return []part{{root, req.What, true}}, nil
	}
	var all []part
	if !req.ByDigest {
		all = append(all, part{root, req.What, false})
	}
	m, err := x.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		img, err := x.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		all = append(all, part{d, img, true})
	}
	return all, nil
}

func describe(what remote.Taggable) (v1.Descriptor, error) {
	raw, err := what.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	var d v1.Descriptor
	if d.Digest, d.Size, err = v1.SHA256(bytes.NewReader(raw)); err != nil {
		return d, err
	}
	switch w := what.(type) {
	case v1.ImageIndex:
		d.MediaType, err = w.MediaType()
	case v1.Image:
		d.MediaType, err = w.MediaType()
	}
	return d, err
}

func push(ctx context.Context, r Registry, req Request, t Target, whole []part, from []name.Repository) (Done, error) {
	d := Done{Repository: t.Repository.Name(), Images: []string{}, Tags: []string{}}
	published := map[v1.Hash]bool{}
	for i, p := range whole {
		published[p.descriptor.Digest] = true
		if p.image {
			d.Images = append(d.Images, p.descriptor.Digest.String())
		}
		// An index brings its images along.
		if i > 0 && !req.ByDigest {
			continue
		}
		if _, err := r.Push(ctx, t.Repository, p.what, from...); err != nil {
			return Done{}, err
		}
	}
	if !req.ByDigest {
		d.Digest = whole[0].descriptor.Digest.String()
	}
	for _, e := range req.Extras {
		if !published[e.Subject] {
			continue
		}
		digest, err := r.Push(ctx, t.Repository, e.Image, from...)
		if err != nil {
			return Done{}, fmt.Errorf("pushing what belongs to %s: %w", e.Subject, err)
		}
		if e.Tag == "" {
			continue
		}
		if err := r.Tag(ctx, digest, e.Tag); err != nil {
			return Done{}, fmt.Errorf("pushing what belongs to %s: %w", e.Subject, err)
		}
	}
	return d, nil
}

func signAll(ctx context.Context, req Request, whole []part, done []Done) error {
	if req.Signer == nil {
		return nil
	}
	var digests []v1.Descriptor
	for _, p := range whole {
		digests = append(digests, p.descriptor)
	}
	for i, t := range req.Targets {
		made, err := req.Signer.Sign(ctx, t.Repository, digests)
		if err != nil {
			return err
		}
		done[i].Signed = made
	}
	return nil
}
