// Package image makes OCI images and indexes out of finished layers, and
// writes them down as an OCI layout or as one archive that every container
// tool loads.
//
// Everything has OCI media types (OCI image-spec v1.1), and nothing in it
// depends on when or where it was made. The package must not know how layers
// came about.
package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/layer"
)

// Blobs is where the layers' bytes lie.
type Blobs interface {
	// Open returns the blob of a digest ("sha256:<hex>"), verified.
	Open(digest string) (*os.File, error)
}

// Spec is what an image is beside its layers.
type Spec struct {
	Platform    v1.Platform       // OS and architecture
	Created     time.Time         // of the newest input
	Config      v1.Config         // OCI image-spec, Image Configuration, "config"
	Annotations map[string]string // on the manifest
	CreatedBy   string            // named in the history of every layer
}

// New returns the image that a specification and layers, lowest first, make.
func New(spec Spec, layers []layer.Layer, blobs Blobs) (v1.Image, error) {
	core := &core{layers: map[v1.Hash]layer.Layer{}, blobs: blobs}
	config := v1.ConfigFile{
		Architecture: spec.Platform.Architecture,
		OS:           spec.Platform.OS,
		Variant:      spec.Platform.Variant,
		Created:      v1.Time{Time: spec.Created.UTC()},
		Config:       spec.Config,
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
	}
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Layers:        []v1.Descriptor{},
		Annotations:   spec.Annotations,
	}
	for _, l := range layers {
		digest, err := v1.NewHash(l.Digest)
		if err != nil {
			return nil, fmt.Errorf("layer of %v: %w", l.Components, err)
		}
		diffID, err := v1.NewHash(l.DiffID)
		if err != nil {
			return nil, fmt.Errorf("layer of %v: %w", l.Components, err)
		}
		core.layers[digest] = l
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		config.History = append(config.History, v1.History{
			Created:   config.Created,
			CreatedBy: spec.CreatedBy,
			Comment:   strings.Join(l.Components, ", "),
		})
		manifest.Layers = append(manifest.Layers, v1.Descriptor{
			MediaType:   types.MediaType(l.MediaType),
			Size:        l.Size,
			Digest:      digest,
			Annotations: l.Annotations,
		})
	}
	var err error
	if core.config, err = json.Marshal(config); err != nil {
		return nil, fmt.Errorf("encoding the image configuration: %w", err)
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(core.config))}
	if manifest.Config.Digest, _, err = v1.SHA256(bytes.NewReader(core.config)); err != nil {
		return nil, err
	}
	if core.manifest, err = json.Marshal(manifest); err != nil {
		return nil, fmt.Errorf("encoding the image manifest: %w", err)
	}
	return partial.CompressedToImage(core)
}

// core is the least that go-containerregistry makes a v1.Image from.
type core struct {
	config, manifest []byte
	layers           map[v1.Hash]layer.Layer
	blobs            Blobs
}

func (c *core) RawConfigFile() ([]byte, error)      { return c.config, nil }
func (c *core) RawManifest() ([]byte, error)        { return c.manifest, nil }
func (c *core) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (c *core) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	l, ok := c.layers[h]
	if !ok {
		return nil, fmt.Errorf("the image has no layer %s", h)
	}
	return blobLayer{l, h, c.blobs}, nil
}

type blobLayer struct {
	layer  layer.Layer
	digest v1.Hash
	blobs  Blobs
}

func (l blobLayer) Digest() (v1.Hash, error) { return l.digest, nil }
func (l blobLayer) Size() (int64, error)     { return l.layer.Size, nil }
func (l blobLayer) MediaType() (types.MediaType, error) {
	return types.MediaType(l.layer.MediaType), nil
}
func (l blobLayer) Compressed() (io.ReadCloser, error) { return l.blobs.Open(l.layer.Digest) }
