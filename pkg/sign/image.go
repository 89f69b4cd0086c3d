package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/empty"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ocisignature "github.com/sigstore/cosign/v2/pkg/oci/signature"
)

// layer is one signature or attestation, as an image of signatures holds it:
// bytes, and in the descriptor's annotations what is said about them.
type layer struct {
	desc  v1.Descriptor
	bytes []byte
}

// maxLayers bounds the signatures that are read of one digest.
const maxLayers = 1000

// readLayers reads the layers of an image of signatures.
func readLayers(ctx context.Context, p Place, d v1.Descriptor, limit int64) ([]layer, error) {
	m, err := readManifest(ctx, p, d)
	if err != nil {
		return nil, err
	}
	if len(m.Layers) > maxLayers {
		return nil, fail("manifest", d.Digest, "at most 1000 signatures", "more")
	}
	var all []layer
	for _, desc := range m.Layers {
		b, err := read(ctx, p, desc, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, layer{desc, b})
	}
	return all, nil
}

// layerOf is the media type of what an artifact holds.
var layerOf = map[string]types.MediaType{
	artifactSignature:   mediaPayload,
	artifactAttestation: mediaEnvelope,
	artifactBundle:      mediaBundle,
}

// artifacts reads what refers to a digest and is of a type. Statements that
// nobody signed are left out.
func artifacts(ctx context.Context, p Place, subject v1.Hash, artifactType string, limit int64) ([]layer, error) {
	all, err := p.Referrers(ctx, subject)
	if err != nil {
		return nil, err
	}
	var found []layer
	for _, d := range all {
		// Some registries list the type of an artifact's configuration.
		if d.ArtifactType != artifactType && d.ArtifactType != string(mediaEmpty) {
			continue
		}
		m, err := readManifest(ctx, p, d)
		if err != nil {
			return nil, err
		}
		if m.Subject == nil || m.Subject.Digest != subject || len(m.Layers) > maxLayers {
			continue
		}
		for _, desc := range m.Layers {
			if desc.MediaType != layerOf[artifactType] {
				continue
			}
			b, err := read(ctx, p, desc, limit)
			if err != nil {
				return nil, err
			}
			found = append(found, layer{desc, b})
		}
	}
	return found, nil
}

// oci is the layer as cosign's functions want it.
func (l layer) oci() oci.Signature {
	return ocisignature.New(static.NewLayer(l.bytes, l.desc.MediaType), l.desc)
}

// newImage makes cosign's image of signatures out of layers.
func newImage(layers []layer) (v1.Image, error) {
	var all []oci.Signature
	for _, l := range layers {
		all = append(all, l.oci())
	}
	return mutate.AppendSignatures(empty.Signatures(), false, all...)
}

// putArtifact stores a layer as an artifact with a subject (OCI image-spec
// v1.1, Guidelines for Artifact Usage).
func putArtifact(ctx context.Context, p Place, subject v1.Descriptor, artifactType string, annotations map[string]string, l layer) error {
	digest, size, err := v1.SHA256(bytes.NewReader(l.bytes))
	if err != nil {
		return err
	}
	l.desc.Digest, l.desc.Size = digest, size
	a := &artifact{layer: l}
	configDigest, configSize, err := v1.SHA256(bytes.NewReader(emptyConfig))
	if err != nil {
		return err
	}
	// The signature's own media type stands for the configuration too: that is
	// by which cosign and registries of OCI 1.0 know it.
	config := mediaEmpty
	if artifactType == artifactSignature {
		config = artifactSignature
	}
	a.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  artifactType,
		Config:        v1.Descriptor{MediaType: config, Digest: configDigest, Size: configSize},
		Layers:        []v1.Descriptor{l.desc},
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:   annotations,
	})
	if err != nil {
		return err
	}
	img, err := partial.CompressedToImage(a)
	if err != nil {
		return err
	}
	return p.Put(ctx, img, "")
}

var emptyConfig = []byte("{}")

// artifact is the least that go-containerregistry makes a v1.Image from.
type artifact struct {
	manifest []byte
	layer    layer
}

func (a *artifact) RawConfigFile() ([]byte, error)      { return emptyConfig, nil }
func (a *artifact) RawManifest() ([]byte, error)        { return a.manifest, nil }
func (a *artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (a *artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	return blob{a.layer}, nil
}

type blob struct{ layer }

func (b blob) Digest() (v1.Hash, error)            { return b.desc.Digest, nil }
func (b blob) Size() (int64, error)                { return b.desc.Size, nil }
func (b blob) MediaType() (types.MediaType, error) { return b.desc.MediaType, nil }
func (b blob) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b.bytes)), nil
}
