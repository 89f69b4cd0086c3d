package image

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// NewIndex returns the index of images of several platforms, in the order
// given (OCI image-spec, Image Index).
func NewIndex(images []v1.Image, annotations map[string]string) (v1.ImageIndex, error) {
	x := &index{images: map[v1.Hash]v1.Image{}}
	m := v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     []v1.Descriptor{},
		Annotations:   annotations,
	}
	seen := map[string]bool{}
	for _, img := range images {
		d, err := describe(img)
		if err != nil {
			return nil, err
		}
		if p := d.Platform.String(); seen[p] {
			return nil, fmt.Errorf("two images for the platform %s in one index", p)
		} else {
			seen[p] = true
		}
		m.Manifests = append(m.Manifests, d)
		x.images[d.Digest] = img
	}
	var err error
	if x.raw, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("encoding the image index: %w", err)
	}
	if x.digest, _, err = v1.SHA256(bytes.NewReader(x.raw)); err != nil {
		return nil, err
	}
	return x, nil
}

// describe is an image's descriptor with its platform. It is made by hand:
// the library's own copies the configuration's media type into artifactType,
// which makes registries list images as artifacts.
func describe(img v1.Image) (v1.Descriptor, error) {
	raw, err := img.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{
		MediaType: types.OCIManifestSchema1,
		Size:      size,
		Digest:    digest,
		Platform:  config.Platform(),
	}, nil
}

type index struct {
	raw    []byte
	digest v1.Hash
	images map[v1.Hash]v1.Image
}

func (x *index) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }
func (x *index) Digest() (v1.Hash, error)            { return x.digest, nil }
func (x *index) Size() (int64, error)                { return int64(len(x.raw)), nil }
func (x *index) RawManifest() ([]byte, error)        { return x.raw, nil }
func (x *index) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}

func (x *index) Image(h v1.Hash) (v1.Image, error) {
	if img, ok := x.images[h]; ok {
		return img, nil
	}
	return nil, fmt.Errorf("the index has no image %s", h)
}

func (x *index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("the index has no index %s", h)
}
