package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

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
	plain  bool     // the layer's tar archive, not compressed
}

func (b blob) path() string { return "blobs/" + b.digest.Algorithm + "/" + b.digest.Hex }

func (b blob) open() (io.ReadCloser, error) {
	switch {
	case b.plain:
		return b.layer.Uncompressed()
	case b.layer != nil:
		return b.layer.Compressed()
	}
	return io.NopCloser(bytes.NewReader(b.bytes)), nil
}

// contents lists the blobs of an index, each once: the index, then manifest,
// configuration and layers of each image, then what is more.
func contents(x v1.ImageIndex, more ...blob) ([]blob, error) {
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
	for _, b := range more {
		add(b)
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
// tag, or one without (OCI image-spec, Image Layout), then what is more.
func topIndex(x v1.ImageIndex, name Name, full bool, more ...v1.Descriptor) ([]byte, error) {
	digest, err := x.Digest()
	if err != nil {
		return nil, err
	}
	size, err := x.Size()
	if err != nil {
		return nil, err
	}
	top := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	descriptor := v1.Descriptor{MediaType: types.OCIImageIndex, Size: size, Digest: digest}
	for _, tag := range name.Tags {
		descriptor.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		if full {
			descriptor.Annotations[imageNameAnnotation] = fullName(name.Repository) + ":" + tag
		}
		top.Manifests = append(top.Manifests, descriptor)
	}
	if len(top.Manifests) == 0 {
		top.Manifests = append(top.Manifests, descriptor)
	}
	top.Manifests = append(top.Manifests, more...)
	return json.Marshal(top)
}

// plainLayers are the tar archives, as blobs, of the layers that docker's own
// archive can not have as they are: engines before version 23 read no zstd.
func plainLayers(x v1.ImageIndex) ([]blob, error) {
	images, err := imagesOf(x)
	if err != nil {
		return nil, err
	}
	var plain []blob
	seen := map[v1.Hash]bool{}
	for _, img := range images {
		layers, err := img.Layers()
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			kind, err := l.MediaType()
			if err != nil {
				return nil, err
			}
			b := blob{layer: l, plain: true}
			if b.digest, err = l.DiffID(); err != nil {
				return nil, err
			}
			if kind != types.OCILayerZStd || seen[b.digest] {
				continue
			}
			seen[b.digest] = true
			if b.size, err = length(b); err != nil {
				return nil, fmt.Errorf("unpacking layer %s: %w", b.digest, err)
			}
			plain = append(plain, b)
		}
	}
	return plain, nil
}

// length reads a blob to its end: only that tells how long a tar archive is.
func length(b blob) (int64, error) {
	r, err := b.open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

// dockerManifest is the manifest.json of docker's archives. Its tags name one
// image each, so the first platform has the tags as they are, and where there
// are several, every platform has them with its architecture behind. Layers in
// plain are there under their diffID.
func dockerManifest(x v1.ImageIndex, name Name, plain []blob) ([]byte, error) {
	images, err := imagesOf(x)
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("an archive needs at least one image")
	}
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var entries []entry
	for i, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		manifest, err := img.Manifest()
		if err != nil {
			return nil, err
		}
		e := entry{Config: blob{digest: manifest.Config.Digest}.path()}
		for _, tag := range name.Tags {
			if i == 0 {
				e.RepoTags = append(e.RepoTags, name.Repository+":"+tag)
			}
			if len(images) > 1 {
				e.RepoTags = append(e.RepoTags, name.Repository+":"+tag+"-"+config.Architecture)
			}
		}
		for i, l := range manifest.Layers {
			digest := l.Digest
			if diffID := config.RootFS.DiffIDs[i]; slices.ContainsFunc(plain, func(b blob) bool { return b.digest == diffID }) {
				digest = diffID
			}
			e.Layers = append(e.Layers, blob{digest: digest}.path())
		}
		entries = append(entries, e)
	}
	return json.Marshal(entries)
}

// fullName is a repository with its registry, as containerd wants it: one
// without is Docker Hub's, and one of a single word is in its library.
func fullName(repository string) string {
	first, _, several := strings.Cut(repository, "/")
	switch {
	case !several:
		return "docker.io/library/" + repository
	case first == "localhost" || strings.ContainsAny(first, ".:"):
		return repository
	}
	return "docker.io/" + repository
}

const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`
