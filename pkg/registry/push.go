package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Push puts an image or an index (v1.Image, v1.ImageIndex), and all that it is
// made of, into a repository: blobs at once, manifests after what they name.
// What is there is not sent again, so a push that was interrupted goes on where
// it stopped; what another repository of the same registry has is taken from
// there. No tag moves.
func (c *Client) Push(ctx context.Context, repo name.Repository, what remote.Taggable, from ...name.Repository) (name.Digest, error) {
	raw, err := what.RawManifest()
	if err != nil {
		return name.Digest{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return name.Digest{}, err
	}
	ref := repo.Digest(digest.String())
	for _, f := range from {
		if f.RegistryStr() == repo.RegistryStr() && f != repo {
			what = mountable(what, f)
			break
		}
	}
	if err := c.pusher.Push(ctx, ref, what); err != nil {
		return name.Digest{}, fmt.Errorf("pushing %s: %w", ref, explain(err))
	}
	return ref, nil
}

// Tag makes a tag name what a digest in the same repository names: one
// request, after which the tag has moved, or has not.
func (c *Client) Tag(ctx context.Context, digest name.Digest, tag string) error {
	d, err := c.Get(ctx, digest)
	if err != nil {
		return err
	}
	ref := digest.Context().Tag(tag)
	if err := c.pusher.Put(ctx, ref, d); err != nil {
		return fmt.Errorf("moving the tag %s: %w", ref, explain(err))
	}
	return nil
}

// ErrNotFound says that a repository has no such tag or digest.
var ErrNotFound = errors.New("the registry does not have it")

// Get asks for the manifest of a tag or digest, and holds it against the
// digest. What the result reads later is held against its digest too.
func (c *Client) Get(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	d, err := c.puller.Get(ctx, ref)
	if te := new(transport.Error); errors.As(err, &te) && te.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w: %w", ref, ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", ref, explain(err))
	}
	return d, nil
}

// Blob opens what is no manifest. What it yields is held against the digest
// when the end is reached.
func (c *Client) Blob(ctx context.Context, d name.Digest) (io.ReadCloser, error) {
	l, err := c.puller.Layer(ctx, d)
	if err == nil {
		var r io.ReadCloser
		if r, err = l.Compressed(); err == nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("asking for %s: %w", d, explain(err))
}

// Resolve returns the digest that a tag names at this moment. Whoever uses it
// from then on is not misled by a tag that moves.
func (c *Client) Resolve(ctx context.Context, ref name.Reference) (name.Digest, error) {
	if d, ok := ref.(name.Digest); ok {
		return d, nil
	}
	d, err := c.Get(ctx, ref)
	if err != nil {
		return name.Digest{}, err
	}
	return ref.Context().Digest(d.Digest.String()), nil
}

// Referrers lists what refers to a digest, from the registry's own list or,
// where it keeps none, from the tag that stands in for it (OCI
// distribution-spec, Listing Referrers). The digest need not be there.
func (c *Client) Referrers(ctx context.Context, d name.Digest) ([]v1.Descriptor, error) {
	x, err := remote.Referrers(d, c.Remote(ctx)...)
	if err == nil {
		var m *v1.IndexManifest
		if m, err = x.IndexManifest(); err == nil {
			return m.Manifests, nil
		}
	}
	return nil, fmt.Errorf("listing what refers to %s: %w", d, explain(err))
}

// companions end the names of the tags under which cosign keeps what belongs
// to a digest: sha256-<hex>.sig and so on.
var companions = []string{".sig", ".att", ".sbom"}

// CompanionTags are the tags of a repository that belong to a digest by their
// name.
func CompanionTags(d name.Digest) []name.Tag {
	base := strings.Replace(d.DigestStr(), ":", "-", 1)
	var tags []name.Tag
	for _, suffix := range companions {
		tags = append(tags, d.Context().Tag(base+suffix))
	}
	return tags
}
