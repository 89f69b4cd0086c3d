package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is the image of a layout that a descriptor is of. Manifest and
// configuration have the digests that name them; layers are held against
// theirs by whoever takes them.
func (l *Layout) Image(d v1.Descriptor) (v1.Image, error) {
	raw, err := l.Manifest(d)
	if err != nil {
		return nil, err
	}
	s := &stored{layout: l, raw: raw}
	if err := json.Unmarshal(raw, &s.manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return partial.CompressedToImage(s)
}

// Index is the index of a layout that a descriptor is of.
func (l *Layout) Index(d v1.Descriptor) (v1.ImageIndex, error) {
	raw, err := l.Manifest(d)
	if err != nil {
		return nil, err
	}
	return &storedIndex{layout: l, raw: raw, digest: d.Digest}, nil
}

// stored is an image of a layout.
type stored struct {
	layout   *Layout
	raw      []byte
	manifest v1.Manifest
}

func (s *stored) RawManifest() ([]byte, error)        { return s.raw, nil }
func (s *stored) MediaType() (types.MediaType, error) { return s.manifest.MediaType, nil }
func (s *stored) RawConfigFile() ([]byte, error)      { return s.layout.Blob(s.manifest.Config.Digest) }
func (s *stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range s.manifest.Layers {
		if d.Digest == h {
			return storedLayer{s.layout, d}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

type storedLayer struct {
	layout     *Layout
	descriptor v1.Descriptor
}

func (l storedLayer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l storedLayer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l storedLayer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }
func (l storedLayer) Compressed() (io.ReadCloser, error)  { return l.layout.Open(l.descriptor.Digest) }
func (l storedLayer) Descriptor() (*v1.Descriptor, error) { return &l.descriptor, nil }

// storedIndex is an index of a layout.
type storedIndex struct {
	layout *Layout
	raw    []byte
	digest v1.Hash
}

func (x *storedIndex) Digest() (v1.Hash, error)     { return x.digest, nil }
func (x *storedIndex) Size() (int64, error)         { return int64(len(x.raw)), nil }
func (x *storedIndex) RawManifest() ([]byte, error) { return x.raw, nil }
func (x *storedIndex) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}
func (x *storedIndex) MediaType() (types.MediaType, error) {
	m, err := x.IndexManifest()
	if err != nil {
		return "", err
	}
	return m.MediaType, nil
}
func (x *storedIndex) Image(h v1.Hash) (v1.Image, error) {
	return x.layout.Image(v1.Descriptor{Digest: h})
}
func (x *storedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return x.layout.Index(v1.Descriptor{Digest: h})
}

// Image is the statement as a registry or a layout holds it: an image without
// a configuration, whose manifest has the subject.
func (s Statement) Image() (v1.Image, error) {
	raw, err := s.Manifest()
	if err != nil {
		return nil, err
	}
	a := &artifact{raw: raw, content: s.Content}
	if err := json.Unmarshal(raw, &a.manifest); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(a)
}

type artifact struct {
	raw, content []byte
	manifest     v1.Manifest
}

func (a *artifact) RawManifest() ([]byte, error)        { return a.raw, nil }
func (a *artifact) MediaType() (types.MediaType, error) { return a.manifest.MediaType, nil }
func (a *artifact) RawConfigFile() ([]byte, error)      { return a.manifest.Config.Data, nil }
func (a *artifact) LayerByDigest(v1.Hash) (partial.CompressedLayer, error) {
	return artifactLayer{a}, nil
}

type artifactLayer struct{ *artifact }

func (l artifactLayer) Digest() (v1.Hash, error) { return l.manifest.Layers[0].Digest, nil }
func (l artifactLayer) Size() (int64, error)     { return l.manifest.Layers[0].Size, nil }
func (l artifactLayer) MediaType() (types.MediaType, error) {
	return l.manifest.Layers[0].MediaType, nil
}
func (l artifactLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.content)), nil
}
