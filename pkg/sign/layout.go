package sign

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/image"
)

// Layout is the OCI layout in a directory, as a Place. name is the image's
// name in signatures; the layout itself has none.
func Layout(dir, name string) (Place, error) {
	if _, err := image.OpenLayout(dir); err != nil {
		return nil, err
	}
	return layout{dir, name}, nil
}

type layout struct{ dir, name string }

func (l layout) Name() string { return l.name }

func (l layout) Resolve(_ context.Context, reference string) (v1.Descriptor, error) {
	read, err := image.OpenLayout(l.dir)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d, err := read.Resolve(reference)
	return d, missing(err)
}

func (l layout) Blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	read, err := image.OpenLayout(l.dir)
	if err != nil {
		return nil, err
	}
	r, err := read.Open(d.Digest)
	return r, missing(err)
}

func (l layout) Referrers(_ context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	read, err := image.OpenLayout(l.dir)
	if err != nil {
		return nil, err
	}
	all, err := read.Referrers(subject)
	if err != nil {
		return nil, err
	}
	var found []v1.Descriptor
	for _, r := range all {
		found = append(found, r.Descriptor)
	}
	return found, nil
}

func (l layout) Put(_ context.Context, img v1.Image, tag string) error {
	return image.Attach(l.dir, img, tag)
}

func missing(err error) error {
	if errors.Is(err, image.ErrNotThere) {
		return fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return err
}
