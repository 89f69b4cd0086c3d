package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blob is one file below blobs/sha256 of a layout.
type blob struct {
	digest v1.Hash
	size   int64
	bytes  []byte   // of what is small and made here
	layer  v1.Layer // else
}

func (b blob) path() string { return "blobs/" + b.digest.Algorithm + "/" + b.digest.Hex }

func (b blob) open() (io.ReadCloser, error) {
	if b.layer != nil {
		return b.layer.Compressed()
	}
	return io.NopCloser(bytes.NewReader(b.bytes)), nil
}

// contents lists the blobs of an index, each once: the index, then manifest,
// configuration and layers of each image.
func contents(x v1.ImageIndex) ([]blob, error) {
	raw, err := x.RawManifest()
	if err != nil {
		return nil, err
	}
	var blobs []blob
	seen := map[v1.Hash]bool{}
	add := func(b blob) {
		if !seen[b.digest] {
			seen[b.digest] = true
			blobs = append(blobs, b)
		}
	}
	addBytes := func(raw []byte) error {
		digest, size, err := v1.SHA256(bytes.NewReader(raw))
		add(blob{digest: digest, size: size, bytes: raw})
		return err
	}
	if err := addBytes(raw); err != nil {
		return nil, err
	}
	images, err := imagesOf(x)
	if err != nil {
		return nil, err
	}
	for _, img := range images {
		manifest, err := img.RawManifest()
		if err != nil {
			return nil, err
		}
		config, err := img.RawConfigFile()
		if err != nil {
			return nil, err
		}
		if err := addBytes(manifest); err != nil {
			return nil, err
		}
		if err := addBytes(config); err != nil {
			return nil, err
		}
		layers, err := img.Layers()
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			digest, err := l.Digest()
			if err != nil {
				return nil, err
			}
			size, err := l.Size()
			if err != nil {
				return nil, err
			}
			add(blob{digest: digest, size: size, layer: l})
		}
	}
	return blobs, nil
}

func imagesOf(x v1.ImageIndex) ([]v1.Image, error) {
	m, err := x.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, d := range m.Manifests {
		img, err := x.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// imageNameAnnotation is containerd's, by which it names what it imports.
const imageNameAnnotation = "io.containerd.image.name"

// topIndex is a layout's index.json: one descriptor of the index for every
// tag (OCI image-spec, Image Layout).
func topIndex(x v1.ImageIndex, name Name, full bool) ([]byte, error) {
	digest, err := x.Digest()
	if err != nil {
		return nil, err
	}
	size, err := x.Size()
	if err != nil {
		return nil, err
	}
	top := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, tag := range name.Tags {
		annotations := map[string]string{ocispec.AnnotationRefName: tag}
		if full {
			annotations[imageNameAnnotation] = name.Repository + ":" + tag
		}
		top.Manifests = append(top.Manifests, v1.Descriptor{
			MediaType: types.OCIImageIndex, Size: size, Digest: digest, Annotations: annotations,
		})
	}
	return json.Marshal(top)
}

// dockerManifest is the manifest.json of docker's archives. It can name one
// image only under a tag: the one for this machine, else the first.
func dockerManifest(x v1.ImageIndex, name Name) ([]byte, error) {
	images, err := imagesOf(x)
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("an archive needs at least one image")
	}
	img := images[0]
	for _, candidate := range images {
		config, err := candidate.ConfigFile()
		if err != nil {
			return nil, err
		}
		if config.OS == "linux" && config.Architecture == runtime.GOARCH {
			img = candidate
		}
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob{digest: manifest.Config.Digest}.path()}
	for _, tag := range name.Tags {
		entry.RepoTags = append(entry.RepoTags, name.Repository+":"+tag)
	}
	slices.Sort(entry.RepoTags)
	for _, l := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob{digest: l.Digest}.path())
	}
	return json.Marshal([]any{entry})
}

const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`
