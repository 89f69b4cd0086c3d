package join

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/inspect"
)

// children are the images of an index.
func children(raw []byte) ([]v1.Descriptor, error) {
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		if !d.MediaType.IsImage() {
			return nil, fmt.Errorf("it has a %s within: name images", d.MediaType)
		}
	}
	if len(m.Manifests) == 0 {
		return nil, errors.New("it is empty")
	}
	return m.Manifests, nil
}

// openImage is an image that lies in a source. Its layers are read from there
// when they are wanted.
func openImage(ctx context.Context, s inspect.Source, digest v1.Hash) (v1.Image, error) {
	c := &remoteCore{ctx: ctx, source: s}
	var err error
	if c.manifest, err = s.Manifest(ctx, digest); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(c.manifest, &c.parsed); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if c.parsed.MediaType != types.OCIManifestSchema1 || c.parsed.Subject != nil || !c.parsed.Config.MediaType.IsConfig() {
		return nil, errors.New("it is no image, but what is said about one")
	}
	if c.config, err = s.Blob(ctx, c.parsed.Config.Digest); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(c)
}

// remoteCore is the least that go-containerregistry makes a v1.Image from. The
// context is that of the whole joining: the interface has none.
type remoteCore struct {
	ctx              context.Context
	source           inspect.Source
	manifest, config []byte
	parsed           v1.Manifest
}

func (c *remoteCore) RawConfigFile() ([]byte, error)      { return c.config, nil }
func (c *remoteCore) RawManifest() ([]byte, error)        { return c.manifest, nil }
func (c *remoteCore) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (c *remoteCore) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range c.parsed.Layers {
		if d.Digest == h {
			return remoteLayer{c, d}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

type remoteLayer struct {
	core       *remoteCore
	descriptor v1.Descriptor
}

func (l remoteLayer) Digest() (v1.Hash, error)            { return l.descriptor.Digest, nil }
func (l remoteLayer) Size() (int64, error)                { return l.descriptor.Size, nil }
func (l remoteLayer) MediaType() (types.MediaType, error) { return l.descriptor.MediaType, nil }
func (l remoteLayer) Compressed() (io.ReadCloser, error) {
	return l.core.source.Layer(l.core.ctx, l.descriptor.Digest)
}
