// Package publish brings finished images to where others find them, in an
// order that no crash can turn into a tag on half an image: blobs and
// manifests by digest, then what is said about them, tags last.
//
// It must not know how images are built or how registries are spoken to.
package publish

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry is what pushing needs of registries.
type Registry interface {
	// Push puts an image or index into a repository, by digest. Blobs may be
	// taken from other repositories of the same registry.
	Push(ctx context.Context, repo name.Repository, what remote.Taggable, from ...name.Repository) (name.Digest, error)
	// Tag moves a tag to a digest of its repository.
	Tag(ctx context.Context, digest name.Digest, tag string) error
}

// Target is a repository, and the tags that are to name the image there.
type Target struct {
	Repository name.Repository
	Tags       []string
}

// Request says what to publish.
type Request struct {
	Index    v1.ImageIndex
	Targets  []Target
	ByDigest bool // push the images alone: no index, no tag
}

// Done is what was published in one repository.
type Done struct {
	Repository string   `json:"repository"`
	Digest     string   `json:"digest,omitempty"` // of the index; empty when images were pushed alone
	Images     []string `json:"images"`           // digests
	Tags       []string `json:"tags"`             // that name the index now
}

// Publish does what a request says. When it fails, every tag names what it
// named before, or the whole new image.
func Publish(ctx context.Context, r Registry, req Request) ([]Done, error) {
	var done []Done
	var from []name.Repository
	var pushed []name.Digest
	for _, t := range req.Targets {
		d, digest, err := push(ctx, r, req, t, from)
		if err != nil {
			return nil, err
		}
		done, pushed = append(done, d), append(pushed, digest)
		from = append(from, t.Repository)
	}
	if req.ByDigest {
		return done, nil
	}
	// Tags of all repositories move when all of them hold everything.
	for i, t := range req.Targets {
		for _, tag := range t.Tags {
			if err := r.Tag(ctx, pushed[i], tag); err != nil {
				return done, fmt.Errorf("%w; the image itself is there as %s", err, pushed[i])
			}
			done[i].Tags = append(done[i].Tags, tag)
		}
	}
	return done, nil
}

func push(ctx context.Context, r Registry, req Request, t Target, from []name.Repository) (Done, name.Digest, error) {
	m, err := req.Index.IndexManifest()
	if err != nil {
		return Done{}, name.Digest{}, err
	}
	d := Done{Repository: t.Repository.Name(), Tags: []string{}}
	for _, child := range m.Manifests {
		d.Images = append(d.Images, child.Digest.String())
		if !req.ByDigest {
			continue
		}
		img, err := req.Index.Image(child.Digest)
		if err != nil {
			return Done{}, name.Digest{}, err
		}
		if _, err := r.Push(ctx, t.Repository, img, from...); err != nil {
			return Done{}, name.Digest{}, err
		}
	}
	if req.ByDigest {
		return d, name.Digest{}, nil
	}
	digest, err := r.Push(ctx, t.Repository, req.Index, from...)
	if err != nil {
		return Done{}, name.Digest{}, err
	}
	d.Digest = digest.DigestStr()
	return d, digest, nil
}
